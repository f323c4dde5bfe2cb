package steer

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The keys of metadata.managedFields[].fieldsV1: https://kubernetes.io/docs/reference/using-api/server-side-apply/ and package
// sigs.k8s.io/structured-merge-diff/fieldpath, which writes them.
const (
	fieldKey = "f:"
	entryKey = "k:"
	valueKey = "v:"
	selfKey  = "."
)

// claim is what one manager owns of an object.
type claim struct {
	manager string
	applied bool
	fields  map[string]any
}

// claims reads who owns what of an object, its status apart.
func claims(object map[string]any) []claim {
	metadata, _ := object["metadata"].(map[string]any)
	list, _ := metadata["managedFields"].([]any)
	var out []claim
	for _, item := range list {
		entry, _ := item.(map[string]any)
		fields, ok := entry["fieldsV1"].(map[string]any)
		if subresource, _ := entry["subresource"].(string); !ok || subresource != "" {
			continue
		}
		manager, _ := entry["manager"].(string)
		out = append(out, claim{manager, entry["operation"] == string(metav1.ManagedFieldsOperationApply), fields})
	}
	return out
}

// ours reports whether the claim is what the plugin applied.
func (c claim) ours() bool { return c.manager == Manager && c.applied }

// owned returns the part of a value that the given fields speak of. Entries of lists bring their keys along.
func owned(value any, fields map[string]any) any {
	switch value := value.(type) {
	case map[string]any:
		out := map[string]any{}
		for key, inner := range fields {
			name, isField := strings.CutPrefix(key, fieldKey)
			child, ok := value[name]
			if !isField || !ok {
				continue
			}
			out[name] = part(child, inner)
		}
		return out
	case []any:
		out := []any{}
		for _, item := range value {
			if kept, ok := ownedItem(item, fields); ok {
				out = append(out, kept)
			}
		}
		return out
	default:
		return value
	}
}

// part is the owned part of a child: all of it where the owner has it as a whole.
func part(child, fields any) any {
	inner, _ := fields.(map[string]any)
	if len(inner) == 0 {
		return child
	}
	return owned(child, inner)
}

func ownedItem(item any, fields map[string]any) (any, bool) {
	for key, inner := range fields {
		if text, ok := strings.CutPrefix(key, valueKey); ok {
			var value any
			if json.Unmarshal([]byte(text), &value) == nil && reflect.DeepEqual(value, item) {
				return item, true
			}
		}
		keys, ok := keysOf(key)
		entry, isEntry := item.(map[string]any)
		if !ok || !isEntry || !has(entry, keys) {
			continue
		}
		kept, _ := part(entry, inner).(map[string]any)
		kept = maps.Clone(kept)
		maps.Copy(kept, keys)
		return kept, true
	}
	return nil, false
}

// keysOf reads k:{"id":"M1"}.
func keysOf(key string) (map[string]any, bool) {
	text, ok := strings.CutPrefix(key, entryKey)
	if !ok {
		return nil, false
	}
	var keys map[string]any
	return keys, json.Unmarshal([]byte(text), &keys) == nil
}

func has(entry, keys map[string]any) bool {
	for name, value := range keys {
		if !reflect.DeepEqual(entry[name], value) {
			return false
		}
	}
	return true
}

// speaksOf reports whether fields go down the path, and with an id to that entry of the list at its end.
func speaksOf(fields map[string]any, path []string, id string) bool {
	for _, name := range path {
		inner, ok := fields[fieldKey+name].(map[string]any)
		if !ok {
			return false
		}
		fields = inner
	}
	if id == "" {
		return true
	}
	for key := range fields {
		if keys, ok := keysOf(key); ok && keys[idField] == id {
			return true
		}
	}
	return false
}

// others names the managers beside the plugin that own a field, or an entry of a list, in order.
func others(all []claim, path []string, id string) []string {
	var names []string
	for _, c := range all {
		if !c.ours() && speaksOf(c.fields, path, id) && !slices.Contains(names, c.manager) {
			names = append(names, c.manager)
		}
	}
	slices.Sort(names)
	return names
}
