package credential

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"mitigation.dev/ems/agent/identity"
	"mitigation.dev/ems/agent/journal/durable"
)

var (
	// ErrNone means that the server has no credential: it is not enrolled.
	ErrNone = errors.New("this server is not enrolled")
	// ErrDamaged means that there is a credential and that it cannot be used.
	ErrDamaged = errors.New("the credential is damaged, or of another machine: enrol the server again")
	// ErrReplaced means that somebody else has stored another credential meanwhile.
	ErrReplaced = errors.New("the credential was replaced meanwhile")
)

const (
	// maxFile is the size of the largest file: eight certificates, a token of 16 KiB, and both a third larger as text.
	maxFile = 128 << 10
	// tokenVersion of the file has a token sealed, certificateVersion the key of a client certificate: a program that does not know
	// such must not take the one for the other.
	tokenVersion, certificateVersion = 1, 2
	fileName                         = "credential.json"
	// identityName is a copy of who the server is. With it an agent whose credential is damaged still knows whose plan it has.
	identityName = "identity.json"
	lockName     = "lock"
)

// Identity is who a server is, and to whom.
type Identity struct {
	// URL of the API server, and the certificates in PEM that its own has to chain to.
	URL string `json:"url"`
	CA  string `json:"ca"`
	// Namespace, Pool and Server are those of the PoolServer.
	Namespace string `json:"namespace"`
	Pool      string `json:"pool"`
	Server    string `json:"server"`
}

// String names the server.
func (i Identity) String() string { return i.Namespace + "/" + i.Server }

// sameServer reports whether another identity is that of the same server of the same cluster, whatever its authority is.
func (i Identity) sameServer(other Identity) bool {
	i.CA, other.CA = "", ""
	return i == other
}

// Again is the command of an operator that enrols the server again.
func (i Identity) Again() string {
	return fmt.Sprintf("kubectl mitigation enroll --again -n %s %s/%s", i.Namespace, i.Pool, i.Server)
}

// Grant is a token as the API server gave it, or a client certificate as it was signed.
type Grant struct {
	// Token is empty where there is a Certificate.
	Token string
	// Certificate and Key are in PEM.
	Certificate, Key string
	// Expires is when it ends by the clock of the API server, Life how long it lasts.
	Expires time.Time
	Life    time.Duration
}

// ID tells grants of one server apart: a token, which is a secret, or a certificate.
func (g Grant) ID() string { return g.Token + g.Certificate }

// IsCertificate tells whether the grant is a client certificate.
func (g Grant) IsCertificate() bool { return g.Certificate != "" }

// secret is what nobody else may have.
func (g Grant) secret() string { return g.Token + g.Key }

// Credential is what a server has after it was enrolled.
type Credential struct {
	Identity
	Grant
	// Received is when the token was received, by the clock of this server.
	Received time.Time
	// Asked is how long a token or certificate to ask for.
	Asked time.Duration
	// Enrolment is the one that certificates are asked for; empty with tokens.
	Enrolment string
	// Exchanged is a digest of the enrolment string that the credential came from; Confirmed says that the string is spent.
	Exchanged string
	Confirmed bool
}

// String keeps the token out of logs.
func (c Credential) String() string { return c.Identity.String() }

// GoString keeps the token out of logs.
func (c Credential) GoString() string { return c.String() }

// content is the file.
type content struct {
	Version int `json:"version"`
	Identity
	// Sealed is the token or the key, protected as the system can.
	Sealed       []byte    `json:"sealed"`
	Certificate  string    `json:"certificate,omitempty"`
	Enrolment    string    `json:"enrolment,omitempty"`
	Expires      time.Time `json:"expires"`
	Received     time.Time `json:"received"`
	LifeSeconds  int64     `json:"lifeSeconds"`
	AskedSeconds int64     `json:"askedSeconds"`
	Exchanged    string    `json:"exchanged,omitempty"`
	Confirmed    bool      `json:"confirmed"`
}

// Store keeps the credential on the disk.
type Store struct{ dir string }

// Open returns the store in a state folder. Nothing is read yet.
func Open(stateDir string) Store { return Store{dir: filepath.Join(stateDir, "credential")} }

// Load reads the credential. The error wraps ErrNone or ErrDamaged where that is the case; with ErrDamaged there is still the Identity,
// unless that cannot be told any more, either.
func (s Store) Load() (Credential, error) {
	file := filepath.Join(s.dir, fileName)
	data, err := durable.OS{}.Read(file, maxFile)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return Credential{}, fmt.Errorf("credential: %s: %w", file, ErrNone)
	case errors.Is(err, durable.ErrTooLarge):
		return Credential{Identity: s.kept()}, fmt.Errorf("credential: %w: %w", ErrDamaged, err)
	case err != nil:
		return Credential{}, fmt.Errorf("credential: %w", err)
	}
	c, err := decode(data)
	if err != nil {
		if c.Identity.check() != nil {
			c.Identity = s.kept()
		}
		return Credential{Identity: c.Identity}, fmt.Errorf("credential: %s: %w: %w", file, ErrDamaged, err)
	}
	return c, nil
}

// kept is the copy of the identity; without a name if there is none that can be believed.
func (s Store) kept() Identity {
	data, err := durable.OS{}.Read(filepath.Join(s.dir, identityName), maxFile)
	var who Identity
	if err != nil || json.Unmarshal(data, &who) != nil || who.check() != nil {
		return Identity{}
	}
	return who
}

// keep writes the copy of the identity, if it is another one.
func (s Store) keep(who Identity) error {
	if s.kept() == who {
		return nil
	}
	data, err := json.MarshalIndent(who, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(durable.OS{}, filepath.Join(s.dir, identityName), data)
}

// decode reads the file. With an error it still gives the identity that stands there.
func decode(data []byte) (Credential, error) {
	var f content
	if err := json.Unmarshal(data, &f); err != nil {
		return Credential{}, errors.New("not the JSON of a credential")
	}
	if f.Version != tokenVersion && f.Version != certificateVersion {
		return Credential{Identity: f.Identity}, fmt.Errorf("version %d: want %d or %d", f.Version, tokenVersion, certificateVersion)
	}
	secret, err := unseal(f.Sealed)
	if err != nil {
		return Credential{Identity: f.Identity}, err
	}
	c := Credential{
		Identity: f.Identity, Received: f.Received, Exchanged: f.Exchanged, Confirmed: f.Confirmed, Asked: time.Duration(f.AskedSeconds) * time.Second,
		Grant: Grant{Certificate: f.Certificate, Expires: f.Expires, Life: time.Duration(f.LifeSeconds) * time.Second}, Enrolment: f.Enrolment,
	}
	if f.Version == certificateVersion {
		c.Key = string(secret)
	} else {
		c.Token = string(secret)
	}
	return c, c.check()
}

func (i Identity) check() error {
	_, err := identity.ParseCA([]byte(i.CA))
	return errors.Join(err, identity.CheckURL(i.URL), identity.CheckNamespace(i.Namespace), identity.CheckPool(i.Pool), identity.CheckServer(i.Server))
}

// check reports what no enrolment would have written.
func (c Credential) check() error {
	problems := []error{c.Identity.check()}
	switch {
	case c.Certificate+c.Key+c.Enrolment == "":
		problems = append(problems, identity.CheckToken(c.Token))
	case c.Token != "":
		problems = append(problems, errors.New("a token and a certificate: want one of them"))
	default:
		problems = append(problems, c.checkCertificate())
	}
	const most = 2 * identity.MaxCeiling
	if c.Life <= 0 || c.Life > most || c.Asked < 0 || c.Asked > most {
		problems = append(problems, fmt.Errorf("life: %v, %v asked for: out of range", c.Life, c.Asked))
	}
	return errors.Join(problems...)
}

// Save stores a credential in place of any other.
func (s Store) Save(c Credential) error {
	return s.locked(func() error { return s.write(c) })
}

// Replace stores a credential in place of the one with the ID. Another one in its place stays, and the error wraps ErrReplaced.
func (s Store) Replace(id string, c Credential) error {
	return s.locked(func() error {
		there, err := s.Load()
		if err != nil {
			return err
		}
		if there.ID() != id {
			return fmt.Errorf("credential: %w", ErrReplaced)
		}
		return s.write(c)
	})
}

// locked holds the lock that keeps the agent's renewal and an enrolment by hand apart. Neither holds it for longer than a write.
func (s Store) locked(do func() error) error {
	const attempts, pause = 50, 100 * time.Millisecond
	if err := secureFolder(s.dir); err != nil {
		return fmt.Errorf("credential: %w", err)
	}
	for attempt := 1; ; attempt++ {
		unlock, err := durable.Lock(filepath.Join(s.dir, lockName))
		if err == nil {
			err = do()
			unlock()
			return err
		}
		if !errors.Is(err, durable.ErrLocked) || attempt == attempts {
			return fmt.Errorf("credential: %w", err)
		}
		<-time.After(pause)
	}
}

func (s Store) write(c Credential) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("credential: %w", err)
	}
	sealed, err := seal([]byte(c.secret()))
	if err != nil {
		return fmt.Errorf("credential: %w", err)
	}
	version := tokenVersion
	if c.IsCertificate() {
		version = certificateVersion
	}
	data, err := json.MarshalIndent(content{
		Version: version, Certificate: c.Certificate, Enrolment: c.Enrolment, Identity: c.Identity, Sealed: sealed, Expires: c.Expires.UTC(), Received: c.Received.UTC(), LifeSeconds: int64(c.Life / time.Second),
		AskedSeconds: int64(c.Asked / time.Second), Exchanged: c.Exchanged, Confirmed: c.Confirmed,
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("credential: %w", err)
	}
	file := filepath.Join(s.dir, fileName)
	// The new file takes over the rights of the old one, which somebody may have widened.
	if err := secureFile(file); err != nil {
		return fmt.Errorf("credential: %w", err)
	}
	if err := errors.Join(durable.WriteFile(durable.OS{}, file, data), s.keep(c.Identity)); err != nil {
		return fmt.Errorf("credential: %w", err)
	}
	return nil
}

// Remove forgets the credential. One that is not there is no error.
func (s Store) Remove() error {
	return s.locked(func() error {
		disk := durable.OS{}
		if err := errors.Join(disk.Remove(filepath.Join(s.dir, fileName)), disk.Remove(filepath.Join(s.dir, identityName))); err != nil {
			return fmt.Errorf("credential: %w", err)
		}
		return nil
	})
}
