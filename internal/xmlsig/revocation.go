package xmlsig

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// judgeRevocation looks up every certificate of a chain below its root. Entries are honoured whatever their
// date: a key that was taken can sign with any date, and which entries are harmless is not for us to guess.
// The notes say for which certificates there was no current list; with require they are refusals. There is at most one
// refusal for each certificate, and all are returned: a caller that only logs them has to tell of each.
func judgeRevocation(chain []*x509.Certificate, revocation *Revocation, require bool, now time.Time) (notes []string, refusals []*Error) {
	if revocation.Mode == RevocationOff || revocation.Mode == "" {
		return nil, nil
	}
	for i, c := range chain[:len(chain)-1] {
		why := errors.New("no list of its issuer is configured")
		var revoked *Error
		for _, list := range revocation.CRLs {
			if !bytes.Equal(list.RawIssuer, c.RawIssuer) || list.CheckSignatureFrom(chain[i+1]) != nil {
				continue
			}
			for _, entry := range list.RevokedCertificateEntries {
				if entry.SerialNumber.Cmp(c.SerialNumber) == 0 {
					revoked = refuse(ClassRevoked, describe(c), "revoked at %s", entry.RevocationTime.UTC().Format(time.RFC3339))
				}
			}
			if why != nil {
				why = CurrentList(list, revocation.MaxAge, now)
			}
		}
		switch {
		case revoked != nil:
			refusals = append(refusals, revoked)
		case why == nil:
		case require:
			refusals = append(refusals, &Error{Class: ClassRevoked, Subject: describe(c), Reason: "no current revocation list", Err: why})
		default:
			notes = append(notes, fmt.Sprintf("%s: no current revocation list: %v", describe(c), why))
		}
	}
	return notes, refusals
}

// CurrentList says why a list does not show that what it leaves out is not revoked, nil if it does.
func CurrentList(list *x509.RevocationList, maxAge time.Duration, now time.Time) error {
	switch {
	case list.ThisUpdate.After(now.Add(ClockSkew)):
		return fmt.Errorf("the list begins at %s", list.ThisUpdate.UTC().Format(time.RFC3339))
	case list.NextUpdate.IsZero() && maxAge == 0:
		return errors.New("the list has no end and the policy sets no greatest age")
	case !list.NextUpdate.IsZero() && now.After(list.NextUpdate):
		return fmt.Errorf("the list ended at %s", list.NextUpdate.UTC().Format(time.RFC3339))
	case maxAge > 0 && now.Sub(list.ThisUpdate) > maxAge:
		return fmt.Errorf("the list of %s is older than %s", list.ThisUpdate.UTC().Format(time.RFC3339), maxAge)
	}
	for _, extension := range list.Extensions {
		// Critical extensions of lists restrict what they cover (delta lists, distribution points).
		if extension.Critical {
			return fmt.Errorf("the list covers a part only (critical extension %s)", extension.Id)
		}
	}
	return nil
}
