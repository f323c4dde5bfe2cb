package metricsfile

import (
	"strconv"
	"strings"
	"time"
)

// text is a file in the text format of Prometheus, version 0.0.4.
type text struct{ strings.Builder }

// kinds of metrics.
const (
	counter = "counter"
	gauge   = "gauge"
)

// family begins a metric.
func (t *text) family(name, kind, help string) {
	t.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n")
}

// sample adds a value. labels are names and values in turn.
func (t *text) sample(name string, value float64, labels ...string) {
	t.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		if i == 0 {
			t.WriteByte('{')
		} else {
			t.WriteByte(',')
		}
		t.WriteString(labels[i] + `="` + escape.Replace(strings.ToValidUTF8(labels[i+1], "�")) + `"`)
	}
	if len(labels) > 0 {
		t.WriteByte('}')
	}
	t.WriteString(" " + strconv.FormatFloat(value, 'f', -1, 64) + "\n")
}

// one adds a metric without labels.
func (t *text) one(name, kind, help string, value float64) {
	t.family(name, kind, help)
	t.sample(name, value)
}

// at adds a time, unless it is not known.
func (t *text) at(name, help string, value time.Time) {
	if !value.IsZero() {
		t.one(name, gauge, help, float64(value.Unix()))
	}
}

// escape is for values of labels.
var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
