package steer

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fromJSON(t *testing.T, text string) map[string]any {
	t.Helper()
	var value map[string]any
	if err := decode([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// TestOwned: an apply that left out what the manager owns already would take it away, and one that takes more along would own it.
func TestOwned(t *testing.T) {
	const object = `{"spec":{"mode":"Enforce","suspend":"Revert","deep":{"whole":{"a":1,"b":[2]}},
		"approved":[{"id":"M1","revision":3,"stages":["first","half"],"reason":"x"},{"id":"M2","reason":"y"}]}}`
	for name, tc := range map[string]struct{ fields, want string }{
		"nothing":                    {`{}`, `{}`},
		"a field":                    {`{"f:spec":{"f:suspend":{}}}`, `{"spec":{"suspend":"Revert"}}`},
		"a field as a whole":         {`{"f:spec":{"f:deep":{"f:whole":{}}}}`, `{"spec":{"deep":{"whole":{"a":1,"b":[2]}}}}`},
		"an entry":                   {`{"f:spec":{"f:approved":{"k:{\"id\":\"M2\"}":{".":{},"f:id":{},"f:reason":{}}}}}`, `{"spec":{"approved":[{"id":"M2","reason":"y"}]}}`},
		"a part of an entry":         {`{"f:spec":{"f:approved":{"k:{\"id\":\"M1\"}":{"f:revision":{}}}}}`, `{"spec":{"approved":[{"id":"M1","revision":3}]}}`},
		"an element of a set":        {`{"f:spec":{"f:approved":{"k:{\"id\":\"M1\"}":{"f:stages":{"v:\"half\"":{}}}}}}`, `{"spec":{"approved":[{"id":"M1","stages":["half"]}]}}`},
		"a field that is gone":       {`{"f:spec":{"f:paused":{}}}`, `{"spec":{}}`},
		"an entry that is gone":      {`{"f:spec":{"f:approved":{"k:{\"id\":\"M9\"}":{}}}}`, `{"spec":{"approved":[]}}`},
		"keys that nobody can read":  {`{"f:spec":{"f:approved":{"k:{\"id\":":{},"i:0":{},"x":{}}}}`, `{"spec":{"approved":[]}}`},
		"fields that are not fields": {`{"f:spec":{"f:suspend":"x","f:mode":[1]}}`, `{"spec":{"suspend":"Revert","mode":"Enforce"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := json.Marshal(owned(fromJSON(t, object), fromJSON(t, tc.fields)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(fromJSON(t, tc.want), fromJSON(t, string(got))); diff != "" {
				t.Errorf("owned part differs (-want +got):\n%s", diff)
			}
		})
	}
}
