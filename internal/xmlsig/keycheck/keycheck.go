package keycheck

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
)

// MinRSABits and MaxRSABits bound RSA keys (docs/document-format.md, section Signature).
const (
	MinRSABits = 2048
	MaxRSABits = 8192
)

// Check refuses a public key that may not be used at all: RSA outside the bounds, ECDSA on a curve other than
// P-256, P-384 or P-521, and every other kind.
func Check(public any) error {
	switch key := public.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < MinRSABits || bits > MaxRSABits {
			return fmt.Errorf("RSA key of %d bits: want %d to %d", bits, MinRSABits, MaxRSABits)
		}
		return nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		default:
			return fmt.Errorf("ECDSA key on %s: want P-256, P-384 or P-521", key.Curve.Params().Name)
		}
	default:
		return fmt.Errorf("key of type %T: want RSA or ECDSA", key)
	}
}
