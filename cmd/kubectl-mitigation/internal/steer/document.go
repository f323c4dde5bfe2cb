package steer

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	emsv1 "mitigation.dev/ems/api/v1alpha1"
)

// idField is the key of every list that the plugin writes to.
const idField = "id"

// Document is what the plugin wants of one object, while it is being changed.
type Document struct {
	target Target
	force  bool
	live   map[string]any
	claims []claim
	// before and wanted are apply documents; what is different is to be written.
	before, wanted map[string]any
	// removals are entries of other managers, which no apply of ours removes.
	removals []removal
	dropped  bool
	spelled  map[string]string
}

type removal struct {
	path []string
	id   string
}

// newDocument takes what the plugin owns out of an object; live is nil if there is none yet.
func newDocument(target Target, live map[string]any, force bool) *Document {
	d := &Document{target: target, force: force, live: live, claims: claims(live)}
	for _, into := range []*map[string]any{&d.before, &d.wanted} {
		*into = map[string]any{
			"apiVersion": emsv1.GroupVersion.String(), "kind": target.kind(),
			"metadata": target.metadata(), specField: map[string]any{},
		}
		for _, c := range d.claims {
			if !c.ours() {
				continue
			}
			mine, _ := clone(owned(live, c.fields)).(map[string]any)
			if spec, ok := mine[specField].(map[string]any); ok {
				(*into)[specField] = spec
			}
			if metadata, ok := mine["metadata"].(map[string]any); ok {
				maps.Copy((*into)["metadata"].(map[string]any), metadata)
			}
		}
	}
	return d
}

const specField = "spec"

// Exists reports whether the object is there. One that is not is made by the change.
func (d *Document) Exists() bool { return d.live != nil }

// Live decodes the whole object as it stands in the cluster, whoever owns its fields.
func (d *Document) Live(into any) error {
	if d.live == nil {
		return nil
	}
	return convert(d.live, into)
}

// Put wants an entry in a list below spec, whose entries have ids. An entry that is there already, if only spelled in other case, is
// replaced if it is the plugin's own; one of another manager is an [OwnedError], unless it says the same or conflicts are forced.
func (d *Document) Put(entry any, list ...string) error {
	value, err := plain(entry)
	if err != nil {
		return err
	}
	id, _ := value[idField].(string)
	if spelling, ok := d.spelled[strings.ToLower(id)]; ok {
		id, value[idField] = spelling, spelling
	}
	if there, spelling := d.entry(id, list); there != nil {
		id, value[idField] = spelling, spelling
		if names := d.others(list, spelling); len(names) > 0 && !reflect.DeepEqual(there, value) {
			if !d.force {
				return &OwnedError{Target: d.target, ID: spelling, Managers: names, List: strings.Join(list, ".")}
			}
			// An apply would leave fields of the other manager that the new entry has not, such as its expiry.
			d.removals = append(d.removals, removal{list, spelling})
		}
	}
	container := d.container(list[:len(list)-1])
	name := list[len(list)-1]
	entries, _ := container[name].([]any)
	entries = slices.DeleteFunc(slices.Clone(entries), func(e any) bool { return idOf(e) == id })
	entries = append(entries, value)
	slices.SortFunc(entries, func(a, b any) int { return strings.Compare(idOf(a), idOf(b)) })
	container[name] = entries
	return nil
}

// Drop no longer wants an entry of a list below spec. One of another manager is an [OwnedError] unless conflicts are forced, and one
// that is not there is [ErrNotThere].
func (d *Document) Drop(id string, list ...string) error {
	there, spelling := d.entry(id, list)
	if there == nil {
		return fmt.Errorf("%s: %w", id, ErrNotThere)
	}
	if names := d.others(list, spelling); len(names) > 0 {
		if !d.force {
			return &OwnedError{Target: d.target, ID: spelling, Managers: names, List: strings.Join(list, "."), Removal: true}
		}
		d.removals = append(d.removals, removal{list, spelling})
	}
	d.dropped = true
	container := d.container(list[:len(list)-1])
	name := list[len(list)-1]
	entries, _ := container[name].([]any)
	entries = slices.DeleteFunc(slices.Clone(entries), func(e any) bool { return idOf(e) == spelling })
	if container[name] = entries; len(entries) == 0 {
		delete(container, name)
	}
	return nil
}

// Set wants a text in a field below spec.
func (d *Document) Set(value string, field ...string) {
	d.container(field[:len(field)-1])[field[len(field)-1]] = value
}

// Unset no longer wants a value in a field below spec. What another manager wants there stays.
func (d *Document) Unset(field ...string) {
	delete(d.container(field[:len(field)-1]), field[len(field)-1])
}

// Unannotate no longer wants an annotation of the plugin.
func (d *Document) Unannotate(name string) {
	metadata := d.wanted["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if delete(annotations, name); len(annotations) == 0 {
		delete(metadata, "annotations")
	}
}

// Annotate wants an annotation.
func (d *Document) Annotate(name, value string) {
	metadata := d.wanted["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if annotations == nil {
		annotations = map[string]any{}
	}
	annotations[name] = value
	metadata["annotations"] = annotations
}

// Others names the managers beside the plugin that want a value in a field below spec.
func (d *Document) Others(field ...string) []string { return d.others(field, "") }

func (d *Document) others(path []string, id string) []string {
	return others(d.claims, append([]string{specField}, path...), id)
}

// entry finds an entry of the live object without regard to case, and how its id is spelled there.
func (d *Document) entry(id string, list []string) (map[string]any, string) {
	value, _ := d.live[specField].(map[string]any)
	for _, name := range list[:len(list)-1] {
		value, _ = value[name].(map[string]any)
	}
	entries, _ := value[list[len(list)-1]].([]any)
	for _, e := range entries {
		if strings.EqualFold(idOf(e), id) {
			return e.(map[string]any), idOf(e)
		}
	}
	return nil, ""
}

// container is the map of the wanted spec at a path.
func (d *Document) container(path []string) map[string]any {
	value := d.wanted[specField].(map[string]any)
	for _, name := range path {
		inner, ok := value[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			value[name] = inner
		}
		value = inner
	}
	return value
}

// finish makes the wanted document one that the API takes: no map is left empty, and a spec that nobody else has anything in says
// one thing at least, which is what its absence means.
func (d *Document) finish() {
	spec := d.wanted[specField].(map[string]any)
	for name, value := range spec {
		switch value := value.(type) {
		case map[string]any:
			if len(value) == 0 {
				delete(spec, name)
			}
		case []any:
			if len(value) == 0 {
				delete(spec, name)
			}
		}
	}
	alone := len(others(d.claims, []string{specField}, "")) == 0
	switch {
	case d.target == Global && alone && len(spec) == 0:
		spec[telemetryField] = map[string]any{}
	case d.target != Global && alone && len(spec) == 0:
		spec[disabledField] = string(emsv1.KeepWhenDisabled)
	}
	if len(spec) == 0 {
		delete(d.wanted, specField)
	}
	if before, _ := d.before[specField].(map[string]any); len(before) == 0 {
		delete(d.before, specField)
	}
}

func idOf(entry any) string {
	fields, _ := entry.(map[string]any)
	id, _ := fields[idField].(string)
	return id
}

// plain turns a value of the API into what JSON has of it.
func plain(value any) (map[string]any, error) {
	content, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	return out, decode(content, &out)
}

// clone copies values that came from JSON.
func clone(value any) any {
	switch value := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(value))
		for k, v := range value {
			out[k] = clone(v)
		}
		return out
	case []any:
		out := make([]any, len(value))
		for i, v := range value {
			out[i] = clone(v)
		}
		return out
	default:
		return value
	}
}
