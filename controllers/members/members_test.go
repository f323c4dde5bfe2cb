package members_test

import (
	"testing"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
	"mitigation.dev/ems/controllers/members"
)

func TestReported(t *testing.T) {
	server := &emsv1.PoolServer{Status: emsv1.PoolServerStatus{Mitigations: []emsv1.ServerMitigation{{ID: "M1", Revision: 1}, {ID: "M2", Revision: 2}}}}
	for name, tc := range map[string]struct {
		id    emsv1.MitigationID
		place int
		want  int64
	}{
		"at its place":        {id: "M2", place: 1, want: 2},
		"at another place":    {id: "M1", place: 1, want: 1},
		"behind the last one": {id: "M1", place: 7, want: 1},
		"at no place":         {id: "M2", place: -1, want: 2},
		"not reported":        {id: "M3", place: 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := members.Reported(server, tc.id, tc.place)
			if got == nil && tc.want != 0 || got != nil && got.Revision != tc.want {
				t.Errorf("%+v, want revision %d", got, tc.want)
			}
		})
	}
}
