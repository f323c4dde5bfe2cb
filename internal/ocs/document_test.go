package ocs

import "testing"

func TestSuccessor(t *testing.T) {
	doc := Document{Configs: []Config{
		{ID: "M1", Supersedes: []string{"M1"}}, {ID: "M2", Supersedes: []string{"m1", "M9"}}, {ID: "M3", Supersedes: []string{"M9"}}, {ID: "M4"},
	}}
	for name, tc := range map[string]struct{ id, want string }{
		"case does not matter":                {"M1", "M2"},
		"a Config does not supersede itself":  {"M3", ""},
		"the last one of several counts":      {"m9", "M3"},
		"one that nobody supersedes has none": {"M4", ""},
	} {
		if got := doc.Successor(tc.id); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
