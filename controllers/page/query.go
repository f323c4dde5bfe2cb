package page

import (
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// query is what a reader asks for beside the page.
type query struct {
	// Text is searched for in names.
	Text string
	// Page counts from 1.
	Page int
}

// queryOf never fails: what makes no sense counts as absent.
func queryOf(values url.Values) query {
	q := query{Page: 1, Text: strings.TrimSpace(values.Get("q"))}
	if utf8.RuneCountInString(q.Text) > maxQuery || !utf8.ValidString(q.Text) {
		q.Text = ""
	}
	if n, err := strconv.Atoi(values.Get("page")); err == nil && n > 0 {
		q.Page = n
	}
	return q
}

func (q query) finds(names ...string) bool {
	if q.Text == "" {
		return true
	}
	for _, name := range names {
		if strings.Contains(strings.ToLower(name), strings.ToLower(q.Text)) {
			return true
		}
	}
	return false
}

// paged is one page of a longer list.
type paged[T any] struct {
	Items []T
	// Query is what was searched for, All how much there is of it.
	Query string
	All   int
	// From and To count the items of the page, from 1.
	From, To    int
	Page, Pages int
	Previous    string
	Next        string
}

// page takes one page of a list; a page behind the last is the last.
func page[T any](list []T, q query, size int) paged[T] {
	p := paged[T]{Query: q.Text, All: len(list), Pages: max(1, (len(list)+size-1)/size)}
	p.Page = min(q.Page, p.Pages)
	from := (p.Page - 1) * size
	to := min(from+size, len(list))
	p.Items = list[from:to]
	if to > from {
		p.From, p.To = from+1, to
	}
	link := func(page int) string {
		values := url.Values{"page": {strconv.Itoa(page)}}
		if q.Text != "" {
			values.Set("q", q.Text)
		}
		return "?" + values.Encode()
	}
	if p.Page > 1 {
		p.Previous = link(p.Page - 1)
	}
	if p.Page < p.Pages {
		p.Next = link(p.Page + 1)
	}
	return p
}

// cut takes the first of a list and says how many are left out.
func cut[T any](list []T, most int) (shown []T, more int) {
	if len(list) <= most {
		return list, 0
	}
	return list[:most], len(list) - most
}

func keyOf(o client.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}
