package fromapi_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/internal/policy"
	"mitigation.dev/ems/internal/policy/fromapi"
	"mitigation.dev/ems/internal/rollout"
)

// fill puts values into every field of a struct, so that a field that somebody adds is tested without being named here. Some are left
// zero.
func fill(random *rand.Rand, v reflect.Value) {
	switch value := v.Addr().Interface().(type) {
	case *time.Time:
		if random.IntN(4) > 0 {
			*value = time.Unix(random.Int64N(4e9), 0).UTC()
		}
		return
	case *time.Duration:
		*value = time.Duration(random.IntN(604800)) * time.Second
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(strings.Repeat(string(rune('a'+random.IntN(26))), random.IntN(20)))
	case reflect.Int:
		v.SetInt(random.Int64N(100000))
	case reflect.Int64:
		v.SetInt(random.Int64N(1 << 33))
	case reflect.Slice:
		for range random.IntN(3) {
			item := reflect.New(v.Type().Elem()).Elem()
			fill(random, item)
			v.Set(reflect.Append(v, item))
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(random, field)
		}
	case reflect.Bool:
		v.SetBool(random.IntN(2) == 0)
	default:
		panic("no values for " + v.Type().String())
	}
}

// The plan is all that the manager remembers by, so what comes back from it has to be what went in.
func TestThePlannersMemorySurvivesThePlan(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 7))
		var want rollout.Entry
		fill(random, reflect.ValueOf(&want).Elem())
		// What plans do not hold, and the planner says it does not look at.
		want.Mitigation.Mitigation = policy.Mitigation{ID: want.ID}
		want.Content, want.Severity, want.By = "", "", ""
		if want.Rollout.ID == "" {
			want.Rollout = rollout.Rollout{}
		}
		if want.Transition.Action == "" {
			want.Transition = rollout.Transition{}
		}

		encoded, err := json.Marshal(fromapi.Planned(&want))
		if err != nil {
			t.Fatal(err)
		}
		var planned emsv1.PlannedMitigation
		if err := json.Unmarshal(encoded, &planned); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, fromapi.Entry(&planned), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("seed %d: what came back differs (-want +got):\n%s", seed, diff)
		}
		again, err := json.Marshal(fromapi.Planned(new(fromapi.Entry(&planned))))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, encoded) {
			t.Fatalf("seed %d: the plan would be written again:\n%s\n%s", seed, encoded, again)
		}
	}
}

func TestTextsStayWithinTheAPI(t *testing.T) {
	long := strings.Repeat("ü", 3000)
	entry := rollout.Entry{Decision: policy.Decision{Message: long}, Transition: rollout.Transition{Action: rollout.HaltedByFailures, By: long, Message: long}}
	entry.Rollout.ID, entry.Rollout.Message = "r1-a1-0", long
	planned := fromapi.Planned(&entry)
	for name, got := range map[string]struct {
		text string
		most int
	}{
		"message":            {planned.Message, 2048},
		"rollout.message":    {planned.Rollout.Message, 2048},
		"transition.message": {planned.Transition.Message, 512},
		"transition.by":      {planned.Transition.By, 256},
	} {
		if len(got.text) > got.most || len(got.text) < got.most-4 || !strings.HasSuffix(got.text, "…") {
			t.Errorf("%s has %d bytes, want %d at most, cut at the border of a character", name, len(got.text), got.most)
		}
	}
}

func TestWhatServersSayOfRollouts(t *testing.T) {
	server := emsv1.PoolServer{}
	server.Name, server.Labels = "FE01", map[string]string{"canary": "yes"}
	server.Status.Mitigations = []emsv1.ServerMitigation{
		{ID: "M1", State: emsv1.StateFailed, Gate: emsv1.ServerGate{Rollout: "r1-a1-0", Verdict: emsv1.GateFailed, Message: "503"}},
		{ID: "M2", State: emsv1.StateHeld},
	}
	want := rollout.Server{
		Name: "FE01", Labels: map[string]string{"canary": "yes"},
		Gates: map[string]rollout.Gate{"m1": {Rollout: "r1-a1-0", Verdict: rollout.GateFailed, Message: "503"}},
	}
	if diff := cmp.Diff(want, fromapi.Server(&server)); diff != "" {
		t.Errorf("server differs (-want +got):\n%s", diff)
	}
}
