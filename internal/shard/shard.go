package shard

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// mainLease is the name of the Lease of the main manager, and how those of the others end.
const mainLease = "manager.ems.mitigation.dev"

// Name is that of a shard. The zero value is the main manager's.
type Name string

// Main is the manager that works for the pools that no other one is named for.
const Main Name = ""

// Of is the shard of a pool, or the one that a plan or server is marked with.
func Of(o metav1.Object) Name { return Name(o.GetLabels()[emsv1.ShardLabel]) }

// Parse takes a name as people give it to a manager; empty for the main one. Names are those of DNS labels, since the Lease of the manager
// bears them.
func Parse(text string) (Name, error) {
	if text == "" {
		return Main, nil
	}
	if problems := validation.IsDNS1123Label(text); len(problems) > 0 {
		return Main, fmt.Errorf("shard: %q: %s", text, strings.Join(problems, "; "))
	}
	return Name(text), nil
}

// Has reports whether the manager of the shard works for a pool, or has the plan or server.
func (n Name) Has(o metav1.Object) bool { return Of(o) == n }

// Manager puts the manager of the shard into words.
func (n Name) Manager() string {
	if n == Main {
		return "the main manager"
	}
	return fmt.Sprintf("the manager of shard %q", string(n))
}

// Lease is the name of the Lease that the managers of the shard elect a leader by.
func (n Name) Lease() string {
	if n == Main {
		return mainLease
	}
	return "shard-" + string(n) + "." + mainLease
}

// LeaseLabels are those of that Lease, by which it is found where the names of shards are not known; none of the main manager's.
func (n Name) LeaseLabels() map[string]string {
	if n == Main {
		return nil
	}
	return map[string]string{emsv1.ShardLabel: string(n)}
}

// Servers selects the PoolServers of the shard's pools.
func (n Name) Servers() labels.Selector {
	if n == Main {
		return selector(selection.DoesNotExist)
	}
	return selector(selection.In, string(n))
}

// Others selects the PoolServers of all other shards.
func (n Name) Others() labels.Selector {
	if n == Main {
		return selector(selection.Exists)
	}
	return selector(selection.NotIn, string(n))
}

// Astray selects the PoolServers that are marked with none of the given shards, nor as the main manager's.
func Astray(managed []Name) labels.Selector {
	out := selector(selection.Exists)
	if len(managed) == 0 {
		return out
	}
	names := make([]string, 0, len(managed))
	for _, n := range managed {
		names = append(names, string(n))
	}
	requirements, _ := selector(selection.NotIn, names...).Requirements()
	return out.Add(requirements...)
}

// Mark is the value of the label for a server of the shard: nil where it shall have none. It is what a merge patch has there.
func (n Name) Mark() *string {
	if n == Main {
		return nil
	}
	return new(string(n))
}

// Marked reports whether a server is marked as one of the shard.
func (n Name) Marked(server metav1.Object) bool {
	value, has := server.GetLabels()[emsv1.ShardLabel]
	return has == (n != Main) && Name(value) == n
}

func selector(operator selection.Operator, values ...string) labels.Selector {
	requirement, err := labels.NewRequirement(emsv1.ShardLabel, operator, values)
	utilruntime.Must(err) // The values are those of labels, which the API server has let pass.
	return labels.NewSelector().Add(*requirement)
}
