package redos

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// verdict is what the checker recheck says about a pattern with the flag i.
type verdict struct {
	Pattern, From, Status, Checker string
	Complexity                     struct {
		Type   string
		Degree int
	}
}

// cost maps complexities to numbers: 1 for linear and less, n for degree n.
const exponentialCost = 1000

func (v verdict) cost() int {
	switch v.Complexity.Type {
	case "exponential":
		return exponentialCost
	case "polynomial":
		return v.Complexity.Degree
	}
	return 1
}

func costOf(r Report) int {
	if r.Complexity == Exponential {
		return exponentialCost
	}
	return max(r.Degree, 1)
}

func oracle(t *testing.T) []verdict {
	t.Helper()
	folder := os.Getenv("EMS_TESTDATA")
	if folder == "" {
		t.Skip("EMS_TESTDATA is not set: the patterns of real configurations are not in the repository")
	}
	raw, err := os.ReadFile(filepath.Join(folder, "rewrite", "redos-oracle-recheck.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Results []verdict }
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	return file.Results
}

// disagreements lists every pattern about which recheck and this package differ. In both,
// recheck gave up its exact method because of the look-ahead, and guessed from measurements.
var disagreements = map[string]struct {
	want   string
	reason string
}{
	`(?=.*autodiscover)(?=.*powershell)`: {
		want: "at most polynomial of degree 2",
		reason: "a look-ahead is never entered again once it has matched, so the two loops add and do not multiply; " +
			"the attack that recheck gives for degree 3 grows with exponent 2, see below",
	},
	`(?=(a+)+$)b`: {
		want:   "at most exponential",
		reason: "the look-ahead is tried before the b; the attack here is proved to double with each letter",
	},
}

// unreadable lists the patterns that IIS cannot read. The first two are in wildcard syntax.
var unreadable = map[string]bool{"*": true, "*/..;*/*": true, "{": true}

func TestOracleAgrees(t *testing.T) {
	counts := map[string]int{}
	differ := 0
	for _, v := range oracle(t) {
		counts[v.From]++
		r, err := Analyse(v.Pattern, Options{IgnoreCase: true})
		if unreadable[v.Pattern] != (err != nil) {
			t.Errorf("%q: error %v", v.Pattern, err)
		}
		if err != nil {
			continue
		}
		provesReport(t, v.Pattern, r, Options{IgnoreCase: true})
		if costOf(r) == v.cost() {
			continue
		}
		differ++
		if d, ok := disagreements[v.Pattern]; !ok || d.want != r.String() {
			t.Errorf("%q: %s, recheck says %s %d", v.Pattern, r, v.Complexity.Type, v.Complexity.Degree)
		}
	}
	if counts["corpus"] != 140 || counts["probe"] != 22 {
		t.Errorf("%v patterns, want 140 and 22", counts)
	}
	if differ != len(disagreements) {
		t.Errorf("%d disagreements, %d are listed", differ, len(disagreements))
	}
}

// recheck gives degree 3 and this attack; counted, it is degree 2.
func TestLookAheadsAddAndDoNotMultiply(t *testing.T) {
	const pattern = `(?=.*autodiscover)(?=.*powershell)`
	got := growth(func(n int) float64 {
		input := "P" + strings.Repeat("AUTODISCOVERT", n) + "\n"
		steps, _, err := stepsOf(t, pattern, input, Options{IgnoreCase: true}, 100_000_000)
		if err != nil {
			t.Fatal(err)
		}
		return float64(steps)
	}, 40)
	if math.Abs(got-2) > 0.1 {
		t.Errorf("grows with exponent %.2f, want 2", got)
	}
}
