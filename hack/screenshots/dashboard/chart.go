package dashboard

import (
	"fmt"
	"html"
	"math"
	"strings"
	"time"
)

// step between the points of a line: the story takes minutes.
const step = time.Second

// chart maps times and values to pixels.
type chart struct {
	from, to                 time.Time
	left, right, top, bottom float64
	low, high                float64
}

func (c *chart) include(value float64) {
	if !math.IsNaN(value) && !math.IsInf(value, 0) {
		c.low, c.high = min(c.low, value), max(c.high, value)
	}
}

func (c *chart) x(t time.Time) float64 {
	return c.left + (c.right-c.left)*float64(t.Sub(c.from))/float64(c.to.Sub(c.from))
}

func (c *chart) y(value float64) float64 {
	return c.bottom - (c.bottom-c.top)*(value-c.low)/(c.high-c.low)
}

// round makes the scale end at a tick, and gives the distance of ticks.
func (c *chart) round() float64 {
	distance := math.Pow10(int(math.Floor(math.Log10((c.high - c.low) / 4))))
	for _, times := range []float64{1, 2, 5, 10} {
		if (c.high-c.low)/(distance*times) <= 5 {
			distance *= times
			break
		}
	}
	c.low, c.high = math.Floor(c.low/distance)*distance, math.Ceil(c.high/distance)*distance
	return distance
}

// curve is a line with what is below it, down to the base; it ends where points are missing.
func (c *chart) curve(points []Point, base map[int64]float64, paint string, opacity float64) string {
	var out strings.Builder
	var run []Point
	end := func() {
		if len(run) > 1 {
			var line, floor strings.Builder
			for i, p := range run {
				back := run[len(run)-1-i]
				fmt.Fprintf(&line, "%.1f,%.1f ", c.x(p.Time), c.y(p.Value))
				fmt.Fprintf(&floor, "%.1f,%.1f ", c.x(back.Time), c.y(max(c.low, base[back.Time.Unix()])))
			}
			fmt.Fprintf(&out, `<polygon points="%s%s" fill="%s" fill-opacity="%g"/><polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`,
				line.String(), strings.TrimSpace(floor.String()), paint, opacity/100, strings.TrimSpace(line.String()), paint)
		}
		run = nil
	}
	for _, p := range points {
		if len(run) > 0 && p.Time.Sub(run[len(run)-1].Time) > step {
			end()
		}
		if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) {
			end()
			continue
		}
		run = append(run, p)
	}
	end()
	return out.String()
}

// curve of a panel.
type curve struct {
	name, paint string
	field       Field
	points      []Point
	base        map[int64]float64
}

// curves are the lines of all answers, stacked where the panel stacks.
func (p *Panel) curves(answers [][]Series) ([]curve, error) {
	var all []curve
	sum := map[int64]float64{}
	for i, answer := range answers {
		for _, s := range answer {
			c := curve{name: p.Targets[i].legend(s), paint: palette[len(all)%len(palette)], base: map[int64]float64{}}
			var err error
			if c.field, err = p.field(c.name); err != nil {
				return nil, err
			}
			if name := c.field.Color.FixedColor; name != "" {
				if c.paint, err = colour(name); err != nil {
					return nil, err
				}
			}
			for _, point := range s.Points {
				if c.field.Custom.Stacking.Mode == "normal" {
					at := point.Time.Unix()
					c.base[at] = sum[at]
					point.Value += sum[at]
					sum[at] = point.Value
				}
				c.points = append(c.points, point)
			}
			all = append(all, c)
		}
	}
	return all, nil
}

// lines are curves over time with a legend below.
func lines(p *Panel, answers [][]Series, w, h float64, from, to time.Time) (string, error) {
	all, err := p.curves(answers)
	if err != nil || len(all) == 0 {
		return "", err
	}
	var legend strings.Builder
	rows, used := 1, 0.0
	for _, c := range all {
		long := 34 + 6.6*float64(len(c.name))
		if used += long; used > w-20 {
			rows, used = rows+1, long
		}
		fmt.Fprintf(&legend, `<span><b style="background:%s"></b>%s</span>`, c.paint, html.EscapeString(c.name))
	}
	h -= 20*float64(rows) + 6
	var grid, drawn strings.Builder
	left := chart{from: from, to: to, left: 74, right: w - 12, top: 6, bottom: h - 22}
	right := left
	scales := map[string]*chart{"": &left, "right": &right}
	fields := map[string]Field{}
	for _, c := range all {
		scale, ok := scales[c.field.Custom.AxisPlacement]
		if !ok {
			return "", fmt.Errorf("axis at %q: not known", c.field.Custom.AxisPlacement)
		}
		fields[c.field.Custom.AxisPlacement] = c.field
		for _, point := range c.points {
			scale.include(point.Value)
		}
	}
	if _, ok := fields["right"]; ok {
		left.right -= 50
		right.right = left.right
	}
	for side, f := range fields {
		if err := scales[side].axis(&grid, f, side); err != nil {
			return "", err
		}
	}
	left.times(&grid)
	for _, c := range all {
		drawn.WriteString(scales[c.field.Custom.AxisPlacement].curve(c.points, c.base, c.paint, c.field.Custom.FillOpacity))
	}
	return fmt.Sprintf(`<svg width="%.0f" height="%.0f">%s%s</svg><div class="l">%s</div>`, w, h, grid.String(), drawn.String(), legend.String()), nil
}

// axis of the values.
func (c *chart) axis(out *strings.Builder, f Field, side string) error {
	if c.high <= c.low {
		c.high = c.low + 1
	}
	x, anchor := c.left-8, "end"
	if side == "right" {
		x, anchor = c.right+8, "start"
	}
	distance := c.round()
	for i := range int(math.Round((c.high-c.low)/distance)) + 1 {
		// A product has no more digits than a sum of many would.
		value := math.Round((c.low/distance)+float64(i)) * distance
		text, err := f.text(math.Round(value*1e6) / 1e6)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, `<path d="M%.1f %.1fH%.1f" stroke="#24272d"/><text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, c.left, c.y(value), c.right, x, c.y(value)+4, anchor, text)
	}
	return nil
}

// times are below.
func (c *chart) times(out *strings.Builder) {
	const room = 75 // for hh:mm:ss
	distance := 5 * time.Second
	for _, wider := range []time.Duration{10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute} {
		if (c.right-c.left)/float64(c.to.Sub(c.from)/distance) < room {
			distance = wider
		}
	}
	for at := c.from.Truncate(distance).Add(distance); at.Before(c.to); at = at.Add(distance) {
		fmt.Fprintf(out, `<path d="M%.1f %.1fV%.1f" stroke="#24272d"/><text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`,
			c.x(at), c.top, c.bottom, c.x(at), c.bottom+16, at.UTC().Format(time.TimeOnly))
	}
}
