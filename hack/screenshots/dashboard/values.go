package dashboard

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

var (
	// colours are Grafana's of the dark theme, palette the order in which it gives them to lines.
	colours = map[string]string{
		"green": "#73BF69", "yellow": "#FADE2A", "orange": "#FF9830", "red": "#F2495C", "blue": "#5794F2", "purple": "#B877D9", "text": "#CCCCDC",
	}
	palette = []string{"#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#705DA0", "#37872D", "#FADE2A"}
)

func colour(name string) (string, error) {
	if strings.HasPrefix(name, "#") {
		return name, nil
	}
	if c, ok := colours[name]; ok {
		return c, nil
	}
	return "", fmt.Errorf("colour %q: not known", name)
}

// at is the colour of a value by the thresholds.
func (f Field) at(value float64) (string, error) {
	name := "text"
	for _, s := range f.Thresholds.Steps {
		if s.Value == nil || value >= *s.Value {
			name = s.Color
		}
	}
	return colour(name)
}

// text of a value in the unit.
func (f Field) text(value float64) (string, error) {
	switch f.Unit {
	case "none", "":
		return f.number(value), nil
	case "percentunit":
		return f.number(value*100) + "%", nil
	case "ops":
		return f.number(value) + " ops/s", nil
	case "s":
		return f.duration(value), nil
	}
	return "", fmt.Errorf("unit %q: not known", f.Unit)
}

// number has three digits that count, as in Grafana, unless the panel wants other ones.
func (f Field) number(value float64) string {
	decimals := 0
	if value != math.Trunc(value) {
		decimals = max(0, 2-int(math.Floor(math.Log10(math.Abs(value)))))
	}
	if f.Decimals != nil {
		return strconv.FormatFloat(value, 'f', *f.Decimals, 64)
	}
	scale := math.Pow10(min(decimals, 6))
	return strconv.FormatFloat(math.Round(value*scale)/scale, 'f', -1, 64)
}

func (f Field) duration(seconds float64) string {
	units := []struct {
		least float64
		name  string
	}{
		{365.25 * 86400, " years"}, {7 * 86400, " weeks"}, {86400, " days"}, {3600, " hours"}, {60, " mins"}, {1, " s"}, {1e-3, " ms"},
	}
	size := math.Abs(seconds)
	for _, u := range units {
		if size < u.least {
			continue
		}
		text := f.number(seconds / u.least)
		if text == "1" && u.least > 1 {
			return text + strings.TrimSuffix(u.name, "s")
		}
		return text + u.name
	}
	return f.number(seconds*1e6) + " µs"
}

// table of the answers, once the transformations were applied.
type table struct {
	header []string
	rows   [][]cell
}

// cell is text, or a number.
type cell struct {
	text  string
	value *float64
}

// table of instant answers: the labels in order, then the value of each query.
func (p *Panel) table(answers [][]Series) (table, error) {
	var names, values []string
	rows := map[string]map[string]cell{}
	var order []string
	merge := false
	for i := range answers {
		value := "Value"
		if len(answers) > 1 {
			value += " #" + p.Targets[i].RefID
		}
		values = append(values, value)
		for _, s := range answers[i] {
			key := fmt.Sprint(s.Labels) // Sorted.
			if rows[key] == nil {
				rows[key] = map[string]cell{}
				order = append(order, key)
			}
			for name, text := range s.Labels {
				rows[key][name] = cell{text: text}
				names = append(names, name)
			}
			rows[key][value] = cell{value: &s.Points[len(s.Points)-1].Value}
		}
	}
	slices.Sort(names)
	t := table{header: append(slices.Compact(names), values...)}
	for _, key := range order {
		var row []cell
		for _, name := range t.header {
			row = append(row, rows[key][name])
		}
		t.rows = append(t.rows, row)
	}
	for _, change := range p.Transformations {
		switch change.ID {
		case "merge": // Done above.
			merge = true
		case "organize":
			for name := range change.Options.ExcludeByName {
				if name != "Time" { // That is never one of ours.
					return t, fmt.Errorf("transformation %q: column %q: only Time can be left out", change.ID, name)
				}
			}
			for i, name := range t.header {
				if renamed, ok := change.Options.RenameByName[name]; ok {
					t.header[i] = renamed
				}
			}
		case "groupingToMatrix":
			t = t.matrix(change.Options.RowField, change.Options.ColumnField)
		default:
			return t, fmt.Errorf("transformation %q: not known", change.ID)
		}
	}
	if len(answers) > 1 && !merge {
		return t, fmt.Errorf("%d queries: want them merged", len(answers))
	}
	return t, nil
}

// matrix has a row for each value of a column and a column for each one of another; what there is no value for is 0.
func (t table) matrix(row, column string) table {
	r, c, v := slices.Index(t.header, row), slices.Index(t.header, column), slices.Index(t.header, "Value")
	if r < 0 || c < 0 {
		return table{}
	}
	m := table{header: []string{row + `\` + column}}
	for _, from := range t.rows {
		if !slices.Contains(m.header, from[c].text) {
			m.header = append(m.header, from[c].text)
		}
	}
	for _, from := range t.rows {
		at := slices.IndexFunc(m.rows, func(cells []cell) bool { return cells[0].text == from[r].text })
		if at < 0 {
			cells := []cell{{text: from[r].text}}
			for range m.header[1:] {
				cells = append(cells, cell{value: new(0.0)})
			}
			at = len(m.rows)
			m.rows = append(m.rows, cells)
		}
		m.rows[at][slices.Index(m.header, from[c].text)] = from[v]
	}
	return m
}
