package build

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// parts is how many numbers a build number has.
	parts = 4
	// maxDigits is the longest part that the document format allows. Ten digits hold
	// every 32-bit number, the widest part that Windows version resources know.
	maxDigits = 10
	// maxLength is the longest text of a build number: four parts and three dots.
	maxLength = parts*maxDigits + parts - 1
)

// ErrInvalid is wrapped by every error of Parse.
var ErrInvalid = errors.New("invalid build number")

// Number is a build number: major, minor, build, revision. The zero value stands for
// "none" wherever a build is optional. Numbers are comparable with ==.
type Number [parts]uint64

// Parse reads four numbers of one to ten digits each, separated by dots. Leading zeros
// are accepted (15.02.0986.036), white space and signs are not. The errors wrap
// ErrInvalid.
func Parse(text string) (Number, error) {
	if len(text) > maxLength {
		return Number{}, fmt.Errorf("%w: %q: more than %d characters", ErrInvalid, text[:maxLength], maxLength)
	}
	fields := strings.Split(text, ".")
	if len(fields) != parts {
		return Number{}, fmt.Errorf("%w: %q: has %d parts instead of %d", ErrInvalid, text, len(fields), parts)
	}
	var n Number
	for i, field := range fields {
		if len(field) == 0 || len(field) > maxDigits {
			return Number{}, fmt.Errorf("%w: %q: part %d has %d digits, allowed are 1 to %d", ErrInvalid, text, i+1, len(field), maxDigits)
		}
		for _, c := range []byte(field) {
			if c < '0' || c > '9' {
				return Number{}, fmt.Errorf("%w: %q: part %d is not a decimal number", ErrInvalid, text, i+1)
			}
			n[i] = n[i]*10 + uint64(c-'0')
		}
	}
	return n, nil
}

// IsZero reports whether n is the zero value, which stands for "none".
func (n Number) IsZero() bool { return n == Number{} }

// Compare returns -1 if n is older than other, 0 if they are the same build and 1 if n
// is newer. Parts are compared in turn, from the first.
func (n Number) Compare(other Number) int {
	for i := range n {
		if c := cmp.Compare(n[i], other[i]); c != 0 {
			return c
		}
	}
	return 0
}

// Branch returns the release branch of n: its first three parts, such as "15.2.2562".
// Security updates of one branch differ only in the fourth part.
func (n Number) Branch() string {
	return join(n[:parts-1])
}

// String returns n without leading zeros.
func (n Number) String() string {
	return join(n[:])
}

// MarshalText writes n as String does, and nothing for the zero value.
func (n Number) MarshalText() ([]byte, error) {
	if n.IsZero() {
		return nil, nil
	}
	return []byte(n.String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (n *Number) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*n = Number{}
		return nil
	}
	read, err := Parse(string(text))
	if err != nil {
		return err
	}
	*n = read
	return nil
}

func join(numbers []uint64) string {
	var out []byte
	for i, number := range numbers {
		if i > 0 {
			out = append(out, '.')
		}
		out = strconv.AppendUint(out, number, 10)
	}
	return string(out)
}
