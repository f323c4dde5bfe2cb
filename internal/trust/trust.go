package trust

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"mitigation.dev/ems/internal/xmlsig"
)

// APIVersion is the only version of the file.
const APIVersion = "ems.mitigation.dev/trust/v1"

// Limits of the file.
const (
	// MaxFileBytes bounds the file. A feed takes about 20 KB: four roots of 2.5 KB in PEM and a revocation
	// list of 200 entries.
	MaxFileBytes = 256 << 10
	// MaxFeeds bounds the feeds of one file.
	MaxFeeds = 64
	// MaxAnchors bounds the certificates of one bundle.
	MaxAnchors = 32
	// MaxCRLs bounds the revocation lists of one policy.
	MaxCRLs = 16
	// MaxPins bounds issuer pins and extended key usages.
	MaxPins = 32
	// maxAgeSeconds is a year; beyond that a greatest age means nothing. It keeps durations from overflowing.
	maxAgeSeconds = 366 * 24 * 60 * 60
)

// feedName is the form of a Kubernetes object name, because feeds are objects.
var feedName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// File is the trust policy file of an agent.
type File struct {
	APIVersion string `json:"apiVersion"`
	// Feeds maps the name of a feed to the policy for its documents.
	Feeds map[string]Policy `json:"feeds"`
}

// Policy says whose documents of one feed are believed. Its field names are those of the file and of the API.
type Policy struct {
	// Roots are the pinned root certificates, a bundle in PEM.
	Roots string `json:"roots"`
	// IssuerPins are hex SHA-256 hashes of the SubjectPublicKeyInfo of the CA that issues signing
	// certificates. Empty: any CA under the roots.
	IssuerPins []string `json:"issuerPins,omitempty"`
	// Subject is what the signing certificate must say. Absent: anything.
	Subject *Subject `json:"subject,omitempty"`
	// ExtendedKeyUsages are dotted object identifiers that the signing certificate must have beside codeSigning.
	ExtendedKeyUsages []string `json:"extendedKeyUsages,omitempty"`
	// TimestampRoots are the trust anchors for counter-signatures, a bundle in PEM. Empty:
	// counter-signatures are not judged.
	TimestampRoots string `json:"timestampRoots,omitempty"`
	// Revocation says what to do about revocation lists. Absent: mode Off.
	Revocation *Revocation `json:"revocation,omitempty"`
	// UndatedDocuments is Refuse (also if empty) or Accept: what to do with documents of version 1.0.4
	// without an accepted counter-signature, whose order in time nobody can tell.
	UndatedDocuments UndatedDocuments `json:"undatedDocuments,omitempty"`
	// AcceptSequence is the highest sequence up to which one jump of more than replay.MaxSequenceJump is accepted: the
	// operator's word, after asking the publisher, that the jump is meant. It stands in the file only; for a feed of the
	// cluster an annotation of the feed says it. Zero: no jump.
	AcceptSequence int64 `json:"acceptSequence,omitempty"`
	// Levels say which checks only report what they find. Absent: all of them refuse.
	Levels *Levels `json:"levels,omitempty"`
}

// Levels are the levels of the checks that have one: Enforce (also if empty) refuses a document that fails the check, Log
// accepts it and reports what was found. A level stands only beside the field that configures its check. Everything else is
// always enforced: the chain to a pinned root and its validity, codeSigning, the sizes of keys, the signature, the digest,
// what a counter-signature contradicts, and the order of documents.
type Levels struct {
	IssuerPins        xmlsig.Level `json:"issuerPins,omitempty"`
	Subject           xmlsig.Level `json:"subject,omitempty"`
	ExtendedKeyUsages xmlsig.Level `json:"extendedKeyUsages,omitempty"`
	Revocation        xmlsig.Level `json:"revocation,omitempty"`
}

// Subject is the subject of the signing certificate. Empty fields match anything.
type Subject struct {
	Organization string `json:"organization,omitempty"`
	CommonName   string `json:"commonName,omitempty"`
}

// Revocation is the part of a policy about revocation lists.
type Revocation struct {
	// Mode is Off, Prefer (a missing or outdated list is noted) or Require (it refuses). Empty: Off.
	Mode xmlsig.RevocationMode `json:"mode,omitempty"`
	// CRLs are the lists, a bundle in PEM.
	CRLs string `json:"crls,omitempty"`
	// MaxAgeSeconds is the greatest age of a list, beside its own end. Zero: none.
	MaxAgeSeconds int64 `json:"maxAgeSeconds,omitempty"`
}

// UndatedDocuments says what to do with documents without a date.
type UndatedDocuments string

// The values of UndatedDocuments.
const (
	RefuseUndated UndatedDocuments = "Refuse"
	AcceptUndated UndatedDocuments = "Accept"
)

// ParseFile reads a file and compiles every policy in it, so that a file which parses can be used.
func ParseFile(content []byte) (*File, error) {
	if len(content) > MaxFileBytes {
		return nil, fmt.Errorf("trust file: %d bytes: at most %d", len(content), MaxFileBytes)
	}
	file := &File{}
	if err := unmarshal(content, file); err != nil {
		return nil, fmt.Errorf("trust file: %w", err)
	}
	if file.APIVersion != APIVersion {
		return nil, fmt.Errorf("trust file: apiVersion: %q: want %q", file.APIVersion, APIVersion)
	}
	if len(file.Feeds) == 0 {
		return nil, errors.New("trust file: feeds: none")
	}
	if len(file.Feeds) > MaxFeeds {
		return nil, fmt.Errorf("trust file: feeds: %d: at most %d", len(file.Feeds), MaxFeeds)
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(file.Feeds)) {
		if !feedName.MatchString(name) {
			problems = append(problems, fmt.Errorf("trust file: feed %q: not the name of a feed: want lower-case letters, digits, hyphens and dots", name))
			continue
		}
		if _, err := file.Feeds[name].Compile(); err != nil {
			problems = append(problems, fmt.Errorf("trust file: feed %q: %w", name, err))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return file, nil
}

// unmarshal reads YAML with every letter as it is. UnmarshalStrict of the YAML package folds case, so that of
// "issuerPins" and "issuerpins" in one policy one would win without a word.
func unmarshal(content []byte, file *File) error {
	converted, err := yaml.YAMLToJSONStrict(content)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(converted, []byte("{")) && !bytes.Equal(converted, []byte("null")) {
		return errors.New("not a list of fields in YAML")
	}
	strict, err := json.UnmarshalStrict(converted, file)
	return errors.Join(append(strict, err)...)
}

// AcceptsUndated tells whether documents without a date are accepted.
func (p Policy) AcceptsUndated() bool { return p.UndatedDocuments == AcceptUndated }

// Compile turns the policy into what the verifier takes. The error lists everything that is wrong, by field.
func (p Policy) Compile() (xmlsig.Policy, error) {
	var compiled xmlsig.Policy
	var problems []error
	note := func(err error) { problems = append(problems, err) }
	var err error
	if compiled.Roots, err = parseAnchors("roots", p.Roots); err != nil {
		note(err)
	} else if len(compiled.Roots) == 0 {
		note(errors.New("roots: no certificate: at least one is needed"))
	}
	if compiled.TimestampRoots, err = parseAnchors("timestampRoots", p.TimestampRoots); err != nil {
		note(err)
	}
	if compiled.IssuerPins, err = parsePins(p.IssuerPins); err != nil {
		note(err)
	}
	if compiled.ExtendedKeyUsages, err = parseUsages(p.ExtendedKeyUsages); err != nil {
		note(err)
	}
	if p.Subject != nil {
		compiled.Organization, compiled.CommonName = p.Subject.Organization, p.Subject.CommonName
	}
	if p.Revocation != nil {
		if compiled.Revocation, err = p.Revocation.compile(); err != nil {
			note(err)
		}
	}
	if compiled.Levels, err = p.compileLevels(); err != nil {
		note(err)
	}
	switch p.UndatedDocuments {
	case "", RefuseUndated, AcceptUndated:
	default:
		note(fmt.Errorf("undatedDocuments: %q: want %q or %q", p.UndatedDocuments, RefuseUndated, AcceptUndated))
	}
	if p.AcceptSequence < 0 {
		note(fmt.Errorf("acceptSequence: %d: want the sequence of the document, a positive number", p.AcceptSequence))
	}
	if err := errors.Join(problems...); err != nil {
		return xmlsig.Policy{}, err
	}
	return compiled, nil
}

func (r Revocation) compile() (xmlsig.Revocation, error) {
	compiled := xmlsig.Revocation{Mode: r.Mode, MaxAge: time.Duration(min(r.MaxAgeSeconds, maxAgeSeconds)) * time.Second}
	switch r.Mode {
	case "":
		compiled.Mode = xmlsig.RevocationOff
	case xmlsig.RevocationOff, xmlsig.RevocationPrefer, xmlsig.RevocationRequire:
	default:
		return compiled, fmt.Errorf("revocation: mode: %q: want %q, %q or %q", r.Mode,
			xmlsig.RevocationOff, xmlsig.RevocationPrefer, xmlsig.RevocationRequire)
	}
	if r.MaxAgeSeconds < 0 || r.MaxAgeSeconds > maxAgeSeconds {
		return compiled, fmt.Errorf("revocation: maxAgeSeconds: %d: want 0 to %d", r.MaxAgeSeconds, maxAgeSeconds)
	}
	var err error
	if compiled.CRLs, err = parseCRLs(r.CRLs); err != nil {
		return compiled, err
	}
	return compiled, nil
}
