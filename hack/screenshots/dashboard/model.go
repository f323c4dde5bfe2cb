package dashboard

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Board is a dashboard.
type Board struct {
	Title  string
	Panels []Panel
}

// Panel is one of its panels, with what is drawn of it.
type Panel struct {
	Type, Title string
	GridPos     struct{ H, W, X, Y int }
	FieldConfig struct {
		Defaults  Field
		Overrides []struct {
			Matcher    struct{ ID, Options string }
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
	Targets         []Target
	Transformations []struct {
		ID      string
		Options struct {
			RowField, ColumnField string
			ExcludeByName         map[string]bool
			RenameByName          map[string]string
		}
	}
}

// Field says how values look.
type Field struct {
	Unit, NoValue string
	Decimals      *int
	Min, Max      *float64
	Thresholds    struct{ Steps []Step }
	Custom        struct {
		FillOpacity   float64
		AxisPlacement string
		Stacking      struct{ Mode string }
		CellOptions   struct{ Type string }
	}
	// Color is fixed; none: one of the palette.
	Color struct{ FixedColor string }
}

// Step of thresholds: from Value on; the first has none.
type Step struct {
	Color string
	Value *float64
}

// Target is a query.
type Target struct {
	RefID, Expr, LegendFormat string
	Instant                   bool
}

// Series is what Prometheus answers.
type Series struct {
	Labels map[string]string
	Points []Point
}

// Point is a value at a time.
type Point struct {
	Time  time.Time
	Value float64
}

// Read reads a dashboard.
func Read(data []byte) (*Board, error) {
	var b Board
	if err := json.Unmarshal(data, &b); err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	return &b, nil
}

// query of a target once its variables are chosen.
func (t Target) query() string {
	return strings.NewReplacer("$pool", ".*", "$__rate_interval", "1m").Replace(t.Expr)
}

var placeholder = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// legend of a series.
func (t Target) legend(s Series) string {
	return placeholder.ReplaceAllStringFunc(t.LegendFormat, func(p string) string { return s.Labels[strings.Trim(p, "{} ")] })
}

// field of a name: the defaults, and what overrides set.
func (p *Panel) field(name string) (Field, error) {
	f := p.FieldConfig.Defaults
	for _, o := range p.FieldConfig.Overrides {
		matches := o.Matcher.Options == name
		switch o.Matcher.ID {
		case "byName":
		case "byRegexp":
			pattern, err := regexp.Compile(o.Matcher.Options)
			if err != nil {
				return f, fmt.Errorf("panel %q: override: %w", p.Title, err)
			}
			matches = pattern.MatchString(name)
		default:
			return f, fmt.Errorf("panel %q: override by %q: not known", p.Title, o.Matcher.ID)
		}
		if !matches {
			continue
		}
		for _, property := range o.Properties {
			to, ok := map[string]any{
				"color": &f.Color, "unit": &f.Unit, "thresholds": &f.Thresholds,
				"custom.axisPlacement": &f.Custom.AxisPlacement, "custom.cellOptions": &f.Custom.CellOptions,
			}[property.ID]
			if !ok {
				return f, fmt.Errorf("panel %q: override of %q: not known", p.Title, property.ID)
			}
			if err := json.Unmarshal(property.Value, to); err != nil {
				return f, fmt.Errorf("panel %q: override of %q: %w", p.Title, property.ID, err)
			}
		}
	}
	return f, nil
}
