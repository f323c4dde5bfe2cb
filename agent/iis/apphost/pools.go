package apphost

import (
	"bytes"
	"strings"

	"mitigation.dev/ems/agent/iis/lossless"
	"mitigation.dev/ems/agent/iis/refusal"
)

// poolSettings are the attributes that keep a pool off: autoStart starts it with the server, and startMode AlwaysRunning
// keeps its worker process running. A pool without a startMode starts on demand, unless applicationPoolDefaults say
// otherwise.
var poolSettings = []struct {
	name, value string
	// onlyFor is the value that has to be replaced; "" for every other one, and for none.
	onlyFor string
}{
	{name: "autoStart", value: "false"},
	{name: "startMode", value: "OnDemand", onlyFor: "AlwaysRunning"},
}

// disablePools gives the splices that switch pools off for good; their run-time state is not in the file.
func (c *Config) disablePools(names []string) ([]lossless.Splice, []Edit, error) {
	var splices []lossless.Splice
	var edits []Edit
	for _, name := range names {
		pool := c.pool(name)
		if pool == nil {
			return nil, nil, refusal.New(refusal.PoolNotFound, "application pool %q: not on this server", name)
		}
		for _, s := range poolSettings {
			a := pool.Attr(s.name)
			edit := Edit{Kind: SetAttribute, Path: name, Attribute: s.name, After: []byte(s.name + `="` + s.value + `"`)}
			switch {
			case a != nil && strings.EqualFold(a.Value, s.value):
				continue // already so, and not by us: nothing to undo
			case s.onlyFor != "" && !strings.EqualFold(c.poolSetting(pool, s.name), s.onlyFor):
				continue
			case a == nil:
				// Right behind the name, where the schema has it and the administration tools would write it.
				at := pool.Attr("name").End
				edit.After = append([]byte(" "), edit.After...)
				splices = append(splices, lossless.Splice{Start: at, End: at, New: edit.After})
			default:
				edit.Before = bytes.Clone(c.doc.Data[a.Start:a.End])
				splices = append(splices, lossless.Splice{Start: a.Start, End: a.End, New: edit.After})
			}
			edits = append(edits, edit)
		}
	}
	return splices, edits, nil
}

// poolSetting gives the value that counts for a pool: its own, else that of applicationPoolDefaults, else "".
func (c *Config) poolSetting(pool *lossless.Element, name string) string {
	if a := pool.Attr(name); a != nil {
		return a.Value
	}
	for _, list := range c.all("system.applicationHost", "applicationPools") {
		for _, defaults := range children(list, "applicationPoolDefaults") {
			if a := defaults.Attr(name); a != nil {
				return a.Value
			}
		}
	}
	return ""
}

// restoreAttribute undoes one setting. A value that is not ours any more was written by somebody after us and stays.
func (c *Config) restoreAttribute(e Edit) (splices []lossless.Splice, exact bool) {
	data := c.doc.Data
	pool := c.pool(e.Path)
	if pool == nil {
		return nil, false
	}
	a := pool.Attr(e.Attribute)
	_, ours, _ := strings.Cut(string(e.After), `"`)
	if a == nil || !strings.EqualFold(a.Value, strings.TrimSuffix(ours, `"`)) {
		return nil, a != nil && bytes.Equal(data[a.Start:a.End], e.Before)
	}
	start := a.Start
	if len(e.Before) == 0 {
		for start > 0 && isBlank(data[start-1]) {
			start--
		}
	}
	return []lossless.Splice{{Start: start, End: a.End, New: e.Before}}, bytes.Equal(data[start:a.End], e.After)
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
