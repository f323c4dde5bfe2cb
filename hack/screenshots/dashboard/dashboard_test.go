package dashboard

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	from = time.Date(2026, 5, 14, 16, 0, 0, 0, time.UTC)
	to   = from.Add(time.Minute)
)

// line is a series with a value each second.
func line(labels map[string]string, values ...float64) Series {
	s := Series{Labels: labels}
	for i, v := range values {
		s.Points = append(s.Points, Point{Time: from.Add(time.Duration(i) * time.Second), Value: v})
	}
	return s
}

func TestPanels(t *testing.T) {
	for name, tc := range map[string]struct {
		panel     string
		answers   [][]Series
		want      []string
		wantError string
	}{
		"a stat shows the last value in the colour of its threshold": {
			panel:   `{"type":"stat","title":"Protected","fieldConfig":{"defaults":{"unit":"percentunit","thresholds":{"steps":[{"color":"red"},{"color":"green","value":0.9}]}}},"targets":[{"expr":"x"}]}`,
			answers: [][]Series{{line(nil, 0.5, 0.95)}},
			want:    []string{">95%<", `style="color:#73BF69"`},
		},
		"a line has its legend from the labels": {
			panel:   `{"type":"timeseries","title":"Failures","targets":[{"expr":"x","legendFormat":"{{pool}} {{reason}}"}]}`,
			answers: [][]Series{{line(map[string]string{"pool": "mail", "reason": "GateFailed"}, 0, 1, 2)}},
			want:    []string{"mail GateFailed", "<polyline"},
		},
		"a gap in the points is a gap in the line": {
			panel:   `{"type":"timeseries","title":"Gap","targets":[{"expr":"x"}]}`,
			answers: [][]Series{{{Points: []Point{{from, 1}, {from.Add(time.Second), 1}, {from.Add(9 * time.Second), 1}, {from.Add(10 * time.Second), 1}}}}},
			want:    []string{"</svg>"},
		},
		"a matrix has a row and a column for each value": {
			panel: `{"type":"table","title":"Pools","targets":[{"expr":"x"}],"transformations":[{"id":"groupingToMatrix","options":{"rowField":"pool","columnField":"state"}}]}`,
			answers: [][]Series{{
				line(map[string]string{"pool": "mail", "state": "failed"}, 2), line(map[string]string{"pool": "web", "state": "protected"}, 7),
			}},
			want: []string{`pool\state`, ">failed<", ">protected<", ">mail<", ">web<", ">7<"},
		},
		"names of others are text": {
			panel:   `{"type":"table","title":"Pools","targets":[{"expr":"x"}]}`,
			answers: [][]Series{{line(map[string]string{"pool": "<script>"}, 1)}},
			want:    []string{"&lt;script&gt;"},
		},
		"what nothing answers has no data": {
			panel:   `{"type":"table","title":"Empty","targets":[{"expr":"x"}]}`,
			answers: [][]Series{{}},
			want:    []string{"No data"},
		},
		"a type that is not known is an error": {panel: `{"type":"geomap","title":"Map"}`, wantError: `type "geomap": not known`},
		"a unit that is not known is an error": {
			panel:     `{"type":"stat","title":"Speed","fieldConfig":{"defaults":{"unit":"knots"}},"targets":[{"expr":"x"}]}`,
			answers:   [][]Series{{line(nil, 1)}},
			wantError: `unit "knots": not known`,
		},
		"a transformation that is not known is an error": {
			panel:     `{"type":"table","title":"Pools","targets":[{"expr":"x"}],"transformations":[{"id":"histogram"}]}`,
			answers:   [][]Series{{line(map[string]string{"pool": "mail"}, 1)}},
			wantError: `transformation "histogram": not known`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			board, err := Read([]byte(`{"title":"Board","panels":[` + tc.panel + `]}`))
			if err != nil {
				t.Fatal(err)
			}
			got, err := page(board, [][][]Series{tc.answers}, from, to)
			if tc.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantError) {
					t.Fatalf("error %v, want %q in it", err, tc.wantError)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, got)
				}
			}
			if lines := strings.Count(got, "<polyline"); name == "a gap in the points is a gap in the line" && lines != 2 {
				t.Errorf("%d lines, want 2", lines)
			}
		})
	}
}

// Every panel of what we ship can be drawn, and chooses its variables.
func TestTheDashboardUsesWhatIsKnown(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "config", "grafana", "ems.json"))
	if err != nil {
		t.Fatal(err)
	}
	board, err := Read(data)
	if err != nil {
		t.Fatal(err)
	}
	var answers [][][]Series
	for _, p := range board.Panels {
		answers = append(answers, make([][]Series, len(p.Targets)))
		for _, target := range p.Targets {
			if q := target.query(); strings.Contains(q, "$") {
				t.Errorf("panel %q: a variable is left in %q", p.Title, q)
			}
		}
	}
	if len(answers) < 10 {
		t.Fatalf("only %d panels", len(answers))
	}
	if _, err := page(board, answers, from, to); err != nil {
		// A stat wants one value, and nobody has answered here.
		t.Error(err)
	}
}
