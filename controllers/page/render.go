package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// searchBox is what the template of a search form needs.
type searchBox struct{ Label, ID, Query string }

// serverTable is what the template of a table of servers needs.
type serverTable struct {
	Rows []serverRow
	// Pool says whether their pools are worth a column.
	Pool bool
}

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"number":  number,
	"servers": func(rows []serverRow, pool bool) serverTable { return serverTable{rows, pool} },
	"search":  func(label, id, query string) searchBox { return searchBox{label, id, query} },
}).ParseFS(templateFiles, "templates/*.html"))

// crumb is a step of the path above a page; the last has no link.
type crumb struct{ Text, Href string }

// frame is what stands around the main part of a page.
type frame struct {
	Title string
	Trail []crumb
	Main  template.HTML
	// Live is the URL of the main part alone; empty for a page that does not change.
	Live, ETag string
	// User is who reads; Token is for signing out, and empty for a reader without a session.
	User, Token string
	Time        moment
}

// content is the main part of a page, and what it is called.
type content struct {
	title    string
	trail    []crumb
	template string
	data     any
}

// renderMain makes the main part, which is all that changes with the fleet, and its validator.
func renderMain(c content) (html []byte, etag string, err error) {
	var out bytes.Buffer
	if err := templates.ExecuteTemplate(&out, c.template, c.data); err != nil {
		return nil, "", fmt.Errorf("render %s: %w", c.template, err)
	}
	sum := sha256.Sum256(out.Bytes())
	return out.Bytes(), `"` + hex.EncodeToString(sum[:16]) + `"`, nil
}

func renderPage(f frame) ([]byte, error) {
	var out bytes.Buffer
	if err := templates.ExecuteTemplate(&out, "page", f); err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	return out.Bytes(), nil
}
