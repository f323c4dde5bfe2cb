package apphost

import (
	"bytes"
	"slices"
	"testing"
)

// After a change that was interrupted and then overwritten by another program, nobody knows which of two states the file
// has: Strip is given the edits of both.
func TestStripTakesTheEditsOfTwoStates(t *testing.T) {
	original := []byte(file("  <system.applicationHost>\n    <applicationPools>\n      <add name=\"DefaultAppPool\" />\n    </applicationPools>\n  </system.applicationHost>\n"))
	states := map[string]Wanted{
		"one rule":                          {Groups: []Group{group(site, "EMS M1.1 a")}},
		"two rules":                         {Groups: []Group{group(site, "EMS M1.1 a", "EMS M2.1 b")}},
		"another rule":                      {Groups: []Group{group(site, "EMS M2.1 b")}},
		"the same rule elsewhere":           {Groups: []Group{group(site+"/owa", "EMS M1.1 a")}},
		"a rule and a pool":                 {Groups: []Group{group(site, "EMS M1.1 a")}, DisabledPools: []string{"DefaultAppPool"}},
		"the pool alone":                    {DisabledPools: []string{"DefaultAppPool"}},
		"a rule of the server and of sites": {Groups: []Group{group("", "EMS M3.1 c"), group(site, "EMS M1.1 a")}},
	}
	for one, before := range states {
		for other, after := range states {
			t.Run(one+", then "+other, func(t *testing.T) {
				old, oldEdits, err := render(original, before)
				if err != nil {
					t.Fatal(err)
				}
				now, nowEdits, err := render(original, after)
				if err != nil {
					t.Fatal(err)
				}
				for which, current := range map[string][]byte{"before": old, "after": now, "neither": original} {
					base, _, err := strip(current, slices.Concat(oldEdits, nowEdits))
					if err != nil {
						t.Errorf("state %s: %v", which, err)
					} else if !bytes.Equal(base, original) {
						t.Errorf("state %s: the file is\n%s", which, base)
					}
				}
			})
		}
	}
}
