package dashboard

import (
	"fmt"
	"html"
	"math"
	"strings"
	"time"
)

// Sizes are Grafana's, in pixels: a dashboard has 24 columns, a row of its grid is 30 high, between panels are 8.
const (
	width   = 1400
	column  = (width - gap) / 24.0
	row     = 38
	gap     = 8
	top     = 56
	heading = 32
)

const css = `*{box-sizing:border-box}html{background:#111217}body{margin:0;position:relative;width:1400px;color:#ccccdc;font:12px/1.5 Inter,"Segoe UI","DejaVu Sans",Helvetica,Arial,sans-serif}
#h{padding:14px 16px;font-size:18px}#h i{float:right;font-style:normal;font-size:13px;color:#9d9fa8;line-height:27px}
.p,.r{position:absolute;overflow:hidden}.p{background:#181b1f;border:1px solid #24272d;border-radius:2px}.r{font-size:15px;font-weight:500;padding-left:8px;line-height:30px}
h2{margin:0;padding:0 8px;font-size:13.5px;font-weight:500;line-height:32px;white-space:nowrap}.n{position:absolute;inset:32px 0 0;display:flex;align-items:center;justify-content:center;color:#9d9fa8}
.v{position:absolute;left:0;right:0;top:34px;text-align:center;font-size:36px;font-weight:500;line-height:52px}svg{display:block}text{fill:#9d9fa8;font-size:11px}
.s{position:absolute;left:0;bottom:0}.l{padding:0 10px;height:0;line-height:20px}.l span{display:inline-block;margin-right:12px;white-space:nowrap}.l b{display:inline-block;width:14px;height:4px;border-radius:2px;margin-right:6px;vertical-align:middle}
table{border-collapse:collapse;width:100%}th,td{padding:0 8px;height:32px;border:solid #24272d;border-width:0 1px 1px 0;text-align:left;white-space:nowrap;font-weight:400}th{color:#6e9fff;font-weight:500}.m{text-align:right}`

// page of all panels; answers are those of each panel's queries.
func page(b *Board, answers [][][]Series, from, to time.Time) (string, error) {
	var out strings.Builder
	bottom := 0
	for i := range b.Panels {
		p := &b.Panels[i]
		drawn, err := draw(p, answers[i], from, to)
		if err != nil {
			return "", fmt.Errorf("panel %q: %w", p.Title, err)
		}
		out.WriteString(drawn)
		bottom = max(bottom, top+(p.GridPos.Y+p.GridPos.H)*row)
	}
	return fmt.Sprintf(`<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>dashboard</title><style>%s</style><body style="height:%dpx"><div id="h">%s<i>%s to %s UTC</i></div>%s</body></html>`,
		css, bottom, html.EscapeString(b.Title), from.UTC().Format(time.TimeOnly), to.UTC().Format(time.TimeOnly), out.String()), nil
}

// draw draws a panel.
func draw(p *Panel, answers [][]Series, from, to time.Time) (string, error) {
	g := p.GridPos
	w, h := float64(g.W)*column-gap, float64(g.H*row-gap)
	place := fmt.Sprintf(`style="left:%.1fpx;top:%dpx;width:%.1fpx;height:%.0fpx"`, gap+float64(g.X)*column, top+g.Y*row, w, h)
	title := html.EscapeString(p.Title)
	var body string
	var err error
	switch p.Type {
	case "row":
		return fmt.Sprintf(`<div class="r" %s>⌄ %s</div>`, place, title), nil
	case "stat":
		body, err = stat(p, answers, w, from, to)
	case "timeseries":
		body, err = lines(p, answers, w-2, h-heading-2, from, to)
	case "table":
		body, err = cells(p, answers)
	default:
		err = fmt.Errorf("type %q: not known", p.Type)
	}
	if body == "" {
		body = "No data"
		if p.FieldConfig.Defaults.NoValue != "" {
			body = html.EscapeString(p.FieldConfig.Defaults.NoValue)
		}
		body = `<div class="n">` + body + `</div>`
	}
	return fmt.Sprintf(`<div class="p" %s><h2>%s</h2>%s</div>`, place, title, body), err
}

// stat is the last value, above how it came about.
func stat(p *Panel, answers [][]Series, w float64, from, to time.Time) (string, error) {
	if len(answers) != 1 || len(answers[0]) > 1 {
		return "", fmt.Errorf("%d queries: want one value of one", len(answers))
	}
	if len(answers[0]) == 0 {
		return "", nil
	}
	points, f := answers[0][0].Points, p.FieldConfig.Defaults
	last := points[len(points)-1].Value
	text, err := f.text(last)
	if err != nil {
		return "", err
	}
	paint, err := f.at(last)
	if err != nil {
		return "", err
	}
	const high = 40
	c := chart{from: from, to: to, right: w - 2, bottom: high - 1, high: 1e-9}
	for _, point := range points {
		c.include(point.Value)
	}
	return fmt.Sprintf(`<div class="v" style="color:%s">%s</div><svg class="s" width="%.0f" height="%d">%s</svg>`, paint, text, w-2, high,
		c.curve(points, nil, paint, 20)), nil
}

// cells are a table.
func cells(p *Panel, answers [][]Series) (string, error) {
	t, err := p.table(answers)
	if err != nil || len(t.rows) == 0 {
		return "", err
	}
	var out strings.Builder
	line := func(element, class, style, text string) {
		fmt.Fprintf(&out, `<%s class="%s" style="%s">%s</%s>`, element, class, style, html.EscapeString(text), element)
	}
	out.WriteString("<table><tr>")
	for i, name := range t.header {
		line("th", map[bool]string{true: "m"}[t.rows[0][i].value != nil], "", name)
	}
	for _, row := range t.rows {
		out.WriteString("</tr><tr>")
		for i, c := range row {
			if c.value == nil || math.IsNaN(*c.value) {
				line("td", "", "", c.text)
				continue
			}
			f, err := p.field(t.header[i])
			if err != nil {
				return "", err
			}
			text, err := f.text(*c.value)
			if err != nil {
				return "", err
			}
			style := ""
			if f.Custom.CellOptions.Type == "color-text" {
				paint, err := f.at(*c.value)
				if err != nil {
					return "", err
				}
				style = "color:" + paint
			}
			line("td", "m", style, text)
		}
	}
	return out.String() + "</tr></table>", nil
}
