package xmlsig_test

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"mitigation.dev/ems/internal/xmlsig"
	"mitigation.dev/ems/test/pki"
)

// A document that was signed 200 days before now by a leaf that has expired since.
func expiredLeaf(t *testing.T, p *pki.PKI) (leaf *pki.Identity, signedAt time.Time) {
	t.Helper()
	leaf, err := p.Issuing.Issue("Expired", pki.Validity(now.AddDate(0, 0, -300), now.AddDate(0, 0, -100)))
	if err != nil {
		t.Fatal(err)
	}
	return leaf, now.AddDate(0, 0, -200)
}

func TestCounterSignature(t *testing.T) {
	p := testPKI(t)
	expired, then := expiredLeaf(t, p)
	foreign, err := pki.NewRoot("Foreign", pki.Authority())
	if err != nil {
		t.Fatal(err)
	}
	foreignTSA, err := foreign.Issue("Foreign TSA", pki.TimeStamping(), pki.Validity(now.AddDate(-5, 0, 0), now.AddDate(5, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	noTSA, err := p.TSARoot.Issue("Not for time-stamping", pki.Validity(now.AddDate(-5, 0, 0), now.AddDate(5, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	rsaTSA, err := p.TSARoot.Issue("RSA TSA", pki.TimeStamping(), pki.Key(pki.RSA2048), pki.Validity(now.AddDate(-5, 0, 0), now.AddDate(5, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	token := func(tsa *pki.Identity, at time.Time, options pki.TokenOptions) func([]byte) ([]byte, error) {
		return func(value []byte) ([]byte, error) { return tsa.TimestampWith(value, at, options) }
	}
	usual := token(p.TSA, then, pki.TokenOptions{})
	valid := p.ECDSA
	cases := map[string]struct {
		signer       *pki.Identity
		token        func([]byte) ([]byte, error)
		certificates []*x509.Certificate
		noRoots      bool
		want         xmlsig.Class // empty: accepted
		wantAt       time.Time
		wantNote     string
	}{
		"an expired leaf, dated by a trusted token":      {signer: expired, token: usual, wantAt: then},
		"a token with indefinite lengths":                {signer: expired, token: token(p.TSA, then, pki.TokenOptions{Indefinite: true}), wantAt: then},
		"a token of an RSA authority":                    {signer: expired, token: token(rsaTSA, then, pki.TokenOptions{}), wantAt: then},
		"SHA-384 imprint":                                {signer: expired, token: token(p.TSA, then, pki.TokenOptions{Hash: crypto.SHA384}), wantAt: then},
		"SHA-512 imprint":                                {signer: expired, token: token(p.TSA, then, pki.TokenOptions{Hash: crypto.SHA512}), wantAt: then},
		"the authority's certificate beside the token":   {signer: expired, token: token(p.TSA, then, pki.TokenOptions{OmitCertificates: true}), certificates: p.TSA.Chain(), wantAt: then},
		"a leaf that is valid now, dated":                {signer: valid, token: token(p.TSA, now, pki.TokenOptions{}), wantAt: now},
		"an authority's clock ten minutes ahead":         {signer: valid, token: token(p.TSA, now.Add(10*time.Minute), pki.TokenOptions{}), wantAt: now.Add(10 * time.Minute)},
		"an expired leaf without a token":                {signer: expired, want: xmlsig.ClassUntrusted},
		"an expired leaf, tokens not judged":             {signer: expired, token: usual, noRoots: true, want: xmlsig.ClassUntrusted},
		"an expired leaf, token of a foreign authority":  {signer: expired, token: token(foreignTSA, then, pki.TokenOptions{}), want: xmlsig.ClassUntrusted},
		"a valid leaf, token of a foreign authority":     {signer: valid, token: token(foreignTSA, then, pki.TokenOptions{}), wantNote: "counter-signature ignored"},
		"a valid leaf, tokens not judged":                {signer: valid, token: usual, noRoots: true, wantNote: "not judged"},
		"a valid leaf, a wrong token that is not judged": {signer: valid, token: func([]byte) ([]byte, error) { return []byte("no token"), nil }, noRoots: true, wantNote: "not judged"},
		"a token from before the leaf":                   {signer: valid, token: token(p.TSA, now.AddDate(-2, 0, 0), pki.TokenOptions{}), want: xmlsig.ClassTimestamp},
		"a token from after the leaf":                    {signer: expired, token: token(p.TSA, now, pki.TokenOptions{}), want: xmlsig.ClassTimestamp},
		"a token of the future":                          {signer: valid, token: token(p.TSA, now.Add(11*time.Minute), pki.TokenOptions{}), want: xmlsig.ClassTimestamp},
		"a token over another value":                     {signer: valid, token: func(value []byte) ([]byte, error) { return p.TSA.Timestamp(append(value, 0), now) }, want: xmlsig.ClassTimestamp},
		"a token over the base64 text": {signer: valid, token: func(value []byte) ([]byte, error) {
			return p.TSA.Timestamp([]byte(base64.StdEncoding.EncodeToString(value)), now)
		}, want: xmlsig.ClassTimestamp},
		"SHA-1 imprint":                                     {signer: valid, token: token(p.TSA, now, pki.TokenOptions{Hash: crypto.SHA1}), want: xmlsig.ClassTimestamp},
		"a broken signature":                                {signer: valid, token: token(p.TSA, now, pki.TokenOptions{BreakSignature: true}), want: xmlsig.ClassTimestamp},
		"a broken signature of a foreign authority":         {signer: valid, token: token(foreignTSA, now, pki.TokenOptions{BreakSignature: true}), want: xmlsig.ClassTimestamp},
		"no signing-certificate attribute":                  {signer: valid, token: token(p.TSA, now, pki.TokenOptions{OmitSigningCertificate: true}), want: xmlsig.ClassTimestamp},
		"a signing-certificate attribute of another":        {signer: valid, token: token(p.TSA, now, pki.TokenOptions{NamedCertificate: rsaTSA.Certificate}), want: xmlsig.ClassTimestamp},
		"no certificate of the authority":                   {signer: valid, token: token(p.TSA, now, pki.TokenOptions{OmitCertificates: true}), want: xmlsig.ClassTimestamp},
		"an authority that is not for time-stamping":        {signer: valid, token: token(noTSA, now, pki.TokenOptions{}), want: xmlsig.ClassTimestamp},
		"an authority's certificate that was not yet valid": {signer: valid, token: token(mustIssueTSA(t, p.TSARoot, now.Add(time.Hour), now.AddDate(1, 0, 0)), now, pki.TokenOptions{}), wantNote: "counter-signature ignored"},
		"an authority's certificate that has expired since": {signer: expired, token: token(mustIssueTSA(t, p.TSARoot, then.AddDate(0, -1, 0), then.AddDate(0, 1, 0)), then, pki.TokenOptions{}), wantAt: then},
		"bytes that are no token":                           {signer: valid, token: func([]byte) ([]byte, error) { return []byte("no token"), nil }, want: xmlsig.ClassTimestamp},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			document := sign(t, content, tc.signer, func(o *xmlsig.SignOptions) {
				o.Timestamper, o.TimestampCertificates = tc.token, tc.certificates
			})
			policy := policyOf(p)
			if !tc.noRoots {
				policy.TimestampRoots = []*x509.Certificate{p.TSARoot.Certificate}
			}
			signed, err := xmlsig.Verify(document, policy, now)
			if tc.want != "" {
				wantClass(t, err, tc.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !signed.SignedAt.Equal(tc.wantAt) {
				t.Errorf("signed at %s, want %s", signed.SignedAt, tc.wantAt)
			}
			if length := len(signed.TimestampChain); (length == 0) != tc.wantAt.IsZero() || length > 0 && !signed.TimestampChain[length-1].Equal(p.TSARoot.Certificate) {
				t.Errorf("%d certificates in the chain of the counter-signature, want one up to its root exactly if it was accepted", length)
			}
			if got := strings.Join(signed.Notes, "; "); !strings.Contains(got, tc.wantNote) || (tc.wantNote == "") != (got == "") {
				t.Errorf("notes %q, want %q", got, tc.wantNote)
			}
		})
	}
}

func mustIssueTSA(t *testing.T, root *pki.Identity, from, to time.Time) *pki.Identity {
	t.Helper()
	id, err := root.Issue("TSA", pki.TimeStamping(), pki.Validity(from, to))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAttacksOnTheObject(t *testing.T) {
	p := testPKI(t)
	policy := policyOf(p)
	policy.TimestampRoots = []*x509.Certificate{p.TSARoot.Certificate}
	genuine := sign(t, content, p.ECDSA, func(o *xmlsig.SignOptions) {
		o.Timestamper = func(value []byte) ([]byte, error) { return p.TSA.Timestamp(value, now) }
	})
	if _, err := xmlsig.Verify(genuine, policy, now); err != nil {
		t.Fatal(err)
	}
	object := part(t, genuine, "<Object", "</Object>")
	counter := part(t, genuine, "<CounterSignature", "</CounterSignature>")
	certificates := part(t, genuine, "<X509Data>", "</X509Data>")
	cases := map[string]struct {
		old, replacement string
		want             xmlsig.Class
	}{
		"two Objects":                        {object, object + object, xmlsig.ClassShape},
		"two CounterSignatures":              {counter, counter + counter, xmlsig.ClassShape},
		"another format":                     {`"cms-timestamp-message"`, `"other"`, xmlsig.ClassShape},
		"no format":                          {` ts-format="cms-timestamp-message"`, ``, xmlsig.ClassShape},
		"another namespace":                  {"timestamp/2003", "timestamp/2004", xmlsig.ClassShape},
		"a further attribute":                {`<Object Id=`, `<Object Encoding="x" Id=`, xmlsig.ClassShape},
		"a comment in the token":             {"</CounterSignature>", "<!-- c --></CounterSignature>", xmlsig.ClassShape},
		"a token above 64 KiB":               {"</CounterSignature>", strings.Repeat("AAAA", 64<<10/3+1) + "</CounterSignature>", xmlsig.ClassLimit},
		"a damaged certificate beside it":    {"<CounterSignature", "<X509Data><X509Certificate>AAAA</X509Certificate></X509Data><CounterSignature", xmlsig.ClassCertificate},
		"two X509Data beside it":             {"<CounterSignature", certificates + certificates + "<CounterSignature", xmlsig.ClassShape},
		"the Object in front of the KeyInfo": {"<KeyInfo>", object + "<KeyInfo>", xmlsig.ClassShape},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := xmlsig.Verify(replaceOnce(t, genuine, tc.old, tc.replacement), policy, now)
			wantClass(t, err, tc.want)
		})
	}
	if _, err := xmlsig.Verify(replaceOnce(t, genuine, object, ""), policy, now); err != nil {
		t.Errorf("without the Object, leaf valid now: %v", err)
	}
}

func TestRevocation(t *testing.T) {
	p := testPKI(t)
	list := func(issuer *pki.Identity, from, to time.Time, revoked ...*pki.Identity) *x509.RevocationList {
		crl, err := issuer.RevocationList(from, to, revoked...)
		if err != nil {
			t.Fatal(err)
		}
		return crl
	}
	dayBefore, dayAfter := now.AddDate(0, 0, -1), now.AddDate(0, 0, 1)
	impostor, err := pki.NewRoot("Example Code Signing CA", pki.Authority(), pki.Validity(now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)))
	if err != nil {
		t.Fatal(err)
	}
	clean := []*x509.RevocationList{list(p.Issuing, dayBefore, dayAfter), list(p.Root, dayBefore, dayAfter)}
	cases := map[string]struct {
		mode      xmlsig.RevocationMode
		lists     []*x509.RevocationList
		maxAge    time.Duration
		stamped   bool
		want      xmlsig.Class // empty: accepted
		wantNotes int
	}{
		"Off looks at nothing":                              {mode: xmlsig.RevocationOff, lists: []*x509.RevocationList{list(p.Issuing, dayBefore, dayAfter, p.ECDSA)}},
		"Require with current lists of the whole chain":     {mode: xmlsig.RevocationRequire, lists: clean},
		"Prefer with current lists":                         {mode: xmlsig.RevocationPrefer, lists: clean},
		"Require without the root's list":                   {mode: xmlsig.RevocationRequire, lists: clean[:1], want: xmlsig.ClassRevoked},
		"Require without lists":                             {mode: xmlsig.RevocationRequire, want: xmlsig.ClassRevoked},
		"Prefer without lists":                              {mode: xmlsig.RevocationPrefer, wantNotes: 2},
		"Require with a list that has ended":                {mode: xmlsig.RevocationRequire, lists: []*x509.RevocationList{list(p.Issuing, dayBefore, now.Add(-time.Second)), clean[1]}, want: xmlsig.ClassRevoked},
		"Require with an ended and a current list":          {mode: xmlsig.RevocationRequire, lists: append([]*x509.RevocationList{list(p.Issuing, dayBefore, now.Add(-time.Second))}, clean...)},
		"Prefer with a list that has ended":                 {mode: xmlsig.RevocationPrefer, lists: []*x509.RevocationList{list(p.Issuing, dayBefore, now.Add(-time.Second)), clean[1]}, wantNotes: 1},
		"Require with a list of the future":                 {mode: xmlsig.RevocationRequire, lists: []*x509.RevocationList{list(p.Issuing, dayAfter, dayAfter.AddDate(0, 0, 1)), clean[1]}, want: xmlsig.ClassRevoked},
		"Require with a list older than allowed":            {mode: xmlsig.RevocationRequire, lists: clean, maxAge: time.Hour, want: xmlsig.ClassRevoked},
		"Require with a list young enough":                  {mode: xmlsig.RevocationRequire, lists: clean, maxAge: 25 * time.Hour},
		"a revoked leaf":                                    {mode: xmlsig.RevocationPrefer, lists: []*x509.RevocationList{list(p.Issuing, dayBefore, dayAfter, p.ECDSA)}, want: xmlsig.ClassRevoked},
		"a revoked leaf in a list that has ended":           {mode: xmlsig.RevocationPrefer, lists: []*x509.RevocationList{list(p.Issuing, dayBefore, dayBefore, p.ECDSA)}, want: xmlsig.ClassRevoked},
		"a revoked leaf behind a clear list":                {mode: xmlsig.RevocationRequire, lists: append(clean, list(p.Issuing, dayBefore, dayAfter, p.ECDSA)), want: xmlsig.ClassRevoked},
		"another leaf is revoked":                           {mode: xmlsig.RevocationRequire, lists: append(clean, list(p.Issuing, dayBefore, dayAfter, p.RSA))},
		"a revoked issuer":                                  {mode: xmlsig.RevocationPrefer, lists: []*x509.RevocationList{list(p.Root, dayBefore, dayAfter, p.Issuing)}, want: xmlsig.ClassRevoked},
		"a list that somebody else signed":                  {mode: xmlsig.RevocationRequire, lists: []*x509.RevocationList{list(impostor, dayBefore, dayAfter), clean[1]}, want: xmlsig.ClassRevoked},
		"revoked by somebody else":                          {mode: xmlsig.RevocationPrefer, lists: append(clean, list(impostor, dayBefore, dayAfter, p.ECDSA))},
		"a revoked leaf, signed before by its time-stamp":   {mode: xmlsig.RevocationPrefer, lists: append(clean, list(p.Issuing, now, dayAfter, p.ECDSA)), stamped: true, want: xmlsig.ClassRevoked},
		"a revoked time-stamping authority":                 {mode: xmlsig.RevocationPrefer, lists: append(clean, list(p.TSARoot, dayBefore, dayAfter, p.TSA)), stamped: true, want: xmlsig.ClassTimestamp},
		"Require asks no list of a time-stamping authority": {mode: xmlsig.RevocationRequire, lists: clean, stamped: true, wantNotes: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			policy := policyOf(p)
			policy.Revocation = xmlsig.Revocation{Mode: tc.mode, CRLs: tc.lists, MaxAge: tc.maxAge}
			document := sign(t, content, p.ECDSA, func(o *xmlsig.SignOptions) {
				if tc.stamped {
					policy.TimestampRoots = []*x509.Certificate{p.TSARoot.Certificate}
					o.Timestamper = func(value []byte) ([]byte, error) { return p.TSA.Timestamp(value, now.AddDate(0, -1, 0)) }
				}
			})
			signed, err := xmlsig.Verify(document, policy, now)
			if tc.want != "" {
				wantClass(t, err, tc.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(signed.Notes) != tc.wantNotes {
				t.Errorf("notes %q, want %d", signed.Notes, tc.wantNotes)
			}
		})
	}
}

// TestARefusalReadsTheSameNextTime keeps the clock out of messages: they end up in conditions.
func TestARefusalReadsTheSameNextTime(t *testing.T) {
	p := testPKI(t)
	expired, _ := expiredLeaf(t, p)
	document := sign(t, content, expired, nil)
	_, first := xmlsig.Verify(document, policyOf(p), now)
	_, second := xmlsig.Verify(document, policyOf(p), now.Add(time.Minute))
	if first == nil || second == nil || first.Error() != second.Error() {
		t.Errorf("first:  %v\nsecond: %v", first, second)
	}
}
