package explain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// shelf holds objects by resource and key, and lists by resource and namespace.
type shelf struct {
	objects map[string]runtime.Object
	refused map[string]bool
}

func (s shelf) Get(_ context.Context, resource string, key types.NamespacedName, into runtime.Object) error {
	return s.take(resource+" "+key.String(), into)
}

func (s shelf) List(_ context.Context, resource, namespace string, into runtime.Object) error {
	if err := s.take(resource+" in "+namespace, into); !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

func (s shelf) take(name string, into runtime.Object) error {
	gr := emsv1.GroupVersion.WithResource(strings.Fields(name)[0]).GroupResource()
	if s.refused[name] {
		return apierrors.NewForbidden(gr, "", errors.New("no rights"))
	}
	object, ok := s.objects[name]
	if !ok {
		return apierrors.NewNotFound(gr, name)
	}
	reflect.ValueOf(into).Elem().Set(reflect.ValueOf(object).Elem())
	return nil
}

func newShelf() shelf {
	o := fleetOf("fe01", "fe02")
	manage(o, evening)
	elsewhere := emsv1.PoolServer{ObjectMeta: metav1.ObjectMeta{Namespace: "frontends", Name: "be01"}, Spec: emsv1.PoolServerSpec{PoolName: "other"}}
	return shelf{refused: map[string]bool{}, objects: map[string]runtime.Object{
		"poolservers frontends/fe01":           &o.Servers[0],
		"poolmitigationconfigs frontends/mail": o.Pool,
		"mitigationplans frontends/mail":       o.Plan,
		"mitigationconfigurations in ":         &emsv1.MitigationConfigurationList{Items: o.Configurations},
		"mitigationfeeds in ": &emsv1.MitigationFeedList{Items: []emsv1.MitigationFeed{{
			ObjectMeta: metav1.ObjectMeta{Name: "contoso"}, Spec: emsv1.MitigationFeedSpec{Product: "ExchangeServer"},
		}}},
		"mitigations in ":          &emsv1.MitigationList{Items: o.Mitigations},
		"poolservers in frontends": &emsv1.PoolServerList{Items: append(o.Servers, elsewhere)},
	}}
}

func mail(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "frontends", Name: name}
}

func TestRead(t *testing.T) {
	for name, tc := range map[string]struct {
		key       types.NamespacedName
		id        string
		refuse    string
		remove    string
		wantError string
		want      []string
	}{
		"a server":                          {key: mail("fe01"), id: "m1", want: []string{"server frontends/fe01 of pool mail\nM1, revision 3: Hold (AwaitingApproval)"}},
		"a pool, with its own servers only": {key: mail("mail"), id: "M1", want: []string{"pool frontends/mail\nM1, revision 3: Apply (Enabled)", "released to 0 of 2 servers"}},
		"neither":                           {key: mail("nobody"), wantError: "frontends/nobody: neither a server nor a pool"},
		"a server without its pool":         {key: mail("fe01"), remove: "poolmitigationconfigs frontends/mail", wantError: "pool frontends/mail: "},
		"a pool without a plan":             {key: mail("fe01"), id: "M1", remove: "mitigationplans frontends/mail", want: []string{"the pool has no plan"}},
		"a part of a mitigation":            {key: mail("mail"), id: "M1.1", wantError: "M1.1: is a part of mitigation M1: ask for that one"},
		"an id that nobody knows":           {key: mail("mail"), id: "M7", wantError: "M7: neither the cluster nor the plan of pool frontends/mail nor the server knows"},
		"no rights on the server":           {key: mail("fe01"), refuse: "poolservers frontends/fe01", wantError: "forbidden"},
		"no rights on the organisation":     {key: mail("fe01"), refuse: "mitigationconfigurations in ", wantError: "bind the role ems-viewer for the cluster"},
		"no rights on the other pools": {
			key: mail("mail"), id: "M1", refuse: "mitigationplans in ", want: []string{"Notes\n  whether other pools hold the rollout is not known: list mitigationplans: "},
		},
		"no rights on the feeds": {
			key: mail("fe01"), id: "M1", refuse: "mitigationfeeds in ", want: []string{"Hold (AwaitingApproval)", "  what product feed contoso is for is not known: it is taken to be the server's"},
		},
		"all of them": {key: mail("fe01"), want: []string{"MITIGATION   REVISION   DESIRED   REASON", "M1           3          Hold      AwaitingApproval   Waiting   -             the server has followed"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf()
			s.refused[tc.refuse] = true
			delete(s.objects, tc.remove)
			var b bytes.Buffer
			o, err := Read(t.Context(), s, tc.key)
			if err == nil {
				o.Now = evening
				err = tell(&b, o, tc.id, "text")
			}
			if tc.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantError) {
					t.Errorf("error = %v, want %q", err, tc.wantError)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				if !strings.Contains(b.String(), want) {
					t.Errorf("no %q in:\n%s", want, &b)
				}
			}
		})
	}
}

func TestFormats(t *testing.T) {
	for form, decode := range map[string]func([]byte, any) error{"json": json.Unmarshal, "yaml": func(b []byte, into any) error { return yaml.Unmarshal(b, into) }} {
		o, err := Read(t.Context(), newShelf(), mail("mail"))
		if err != nil {
			t.Fatal(err)
		}
		o.Now = evening
		var one, all bytes.Buffer
		if err := errors.Join(tell(&one, o, "M1", form), tell(&all, o, "", form)); err != nil {
			t.Fatal(err)
		}
		var x Explanation
		var list []Explanation
		if err := errors.Join(decode(one.Bytes(), &x), decode(all.Bytes(), &list)); err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if len(list) != 1 || list[0].Mitigation != "M1" || x.Rollout.State != "Waiting" || len(x.Next) == 0 || len(x.Steps) < 5 || x.Behind == nil {
			t.Errorf("%s: %+v and %d entries", form, x, len(list))
		}
	}
}
