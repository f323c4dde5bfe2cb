package inventory

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"

	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/sheet"
	"mitigation.dev/ems/cmd/kubectl-mitigation/internal/terminal"
)

// The values of --output.
const (
	formTable = "table"
	formWide  = "wide"
	formJSON  = "json"
	formYAML  = "yaml"
	formName  = "name"
	formCSV   = "csv"
	formXML   = "xml"
)

// forms are those of "get", files those of "export".
var (
	forms = []string{formTable, formWide, formJSON, formYAML, formName, formCSV, formXML}
	files = []string{formXML, formCSV}
)

// column is one of a list: in the table, or only in the wide one, and in files under a name of its own.
type column[T any] struct {
	// head is that of the table; without one the column is in files alone.
	head string
	wide bool
	// name is the heading in CSV and the element in XML; without one the column is in tables alone.
	name  string
	value func(row T) string
	tone  func(text string) terminal.Tone
}

// list says how rows are printed.
type list[T any] struct {
	document sheet.Document
	columns  []column[T]
	// object is what -o name prints.
	object func(row T) string
}

// output is where and how something is printed.
type output struct {
	w     io.Writer
	form  string
	heads bool
	style terminal.Style
	now   time.Time
}

func write[T any](o output, l list[T], rows []T) error {
	switch o.form {
	case formJSON, formYAML:
		content, err := json.MarshalIndent(rows, "", "  ")
		if err == nil && o.form == formYAML {
			content, err = yaml.JSONToYAML(content)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(o.w, strings.TrimSuffix(string(content), "\n"))
		return err
	case formName:
		return writeNames(o.w, l, rows)
	case formCSV, formXML:
		return writeFile(o, l, rows)
	}
	var columns []sheet.Column
	var values []func(T) string
	for _, c := range l.columns {
		if c.head == "" || c.wide && o.form != formWide {
			continue
		}
		columns, values = append(columns, sheet.Column{Head: c.head, Tone: c.tone}), append(values, c.value)
	}
	return sheet.Table(o.w, o.style, columns, cells(rows, values), o.heads)
}

// writeNames names each object once.
func writeNames[T any](w io.Writer, l list[T], rows []T) error {
	said := map[string]bool{}
	for _, row := range rows {
		name := l.object(row)
		if said[name] {
			continue
		}
		said[name] = true
		if _, err := fmt.Fprintln(w, name); err != nil {
			return err
		}
	}
	return nil
}

func writeFile[T any](o output, l list[T], rows []T) error {
	var names []string
	var values []func(T) string
	for _, c := range l.columns {
		if c.name != "" {
			names, values = append(names, c.name), append(values, c.value)
		}
	}
	if o.form == formCSV {
		return sheet.CSV(o.w, names, cells(rows, values))
	}
	document := l.document
	// A list of what protects a fleet is evidence, and evidence has a time.
	document.Attributes = append(slices.Clone(document.Attributes), "time", o.now.UTC().Format(time.RFC3339))
	return sheet.XML(o.w, document, names, cells(rows, values))
}

func cells[T any](rows []T, values []func(T) string) [][]string {
	out := make([][]string, len(rows))
	for i, row := range rows {
		for _, value := range values {
			out[i] = append(out[i], value(row))
		}
	}
	return out
}

func number[N int32 | int64](n N) string { return strconv.FormatInt(int64(n), 10) }

// known is a number that is not known while it is 0.
func known(n int64) string {
	if n == 0 {
		return ""
	}
	return number(n)
}

func timestamp(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// poolMitigationList has the columns of Get-Mitigations.ps1, ID, Type, Description and Status, among those that a fleet needs.
func poolMitigationList(namespaces bool) list[PoolMitigation] {
	type row = PoolMitigation
	return list[row]{
		document: sheet.Document{Root: "Mitigations", Item: "Mitigation"},
		object:   func(r row) string { return "mitigation.ems.mitigation.dev/" + strings.ToLower(r.ID) },
		columns: append(namespaceColumn(namespaces, func(r row) string { return r.Namespace }), []column[row]{
			{head: "POOL", name: "Pool", value: func(r row) string { return r.Pool }},
			{head: "ID", name: "ID", value: func(r row) string { return r.ID }},
			{head: "TYPE", name: "Type", value: func(r row) string { return r.Type }},
			{head: "STATUS", name: "Status", value: func(r row) string { return r.Status }, tone: toneOf},
			{head: "ENFORCED", value: func(r row) string { return fmt.Sprintf("%d/%d", r.Enforced, r.Servers) }},
			{name: "Enforced", value: func(r row) string { return number(r.Enforced) }},
			{name: "Servers", value: func(r row) string { return number(r.Servers) }},
			{head: "FAILED", name: "Failed", value: func(r row) string { return number(r.Failed) }},
			{head: "MODE", name: "Mode", value: func(r row) string { return r.Mode }},
			{head: "SEVERITY", wide: true, name: "Severity", value: func(r row) string { return r.Severity }},
			{head: "CVE", wide: true, name: "CVE", value: func(r row) string { return strings.Join(r.CVEs, ",") }},
			{head: "REVISION", wide: true, name: "Revision", value: func(r row) string { return known(r.Revision) }},
			{head: "STAGE", wide: true, name: "Stage", value: func(r row) string { return r.Stage }},
			{head: "BLOCKED BY", wide: true, name: "BlockedBy", value: func(r row) string { return r.BlockedBy }},
			{head: "EXPIRES", wide: true, name: "Expires", value: func(r row) string { return timestamp(r.ExpiryTime) }},
			{head: "DESCRIPTION", name: "Description", value: func(r row) string { return r.Description }},
			{name: "Reason", value: func(r row) string { return r.Reason }},
			{name: "Message", value: func(r row) string { return r.Message }},
		}...),
	}
}

func serverMitigationList(namespaces bool) list[ServerMitigation] {
	type row = ServerMitigation
	return list[row]{
		document: sheet.Document{Root: "Mitigations", Item: "Mitigation"},
		object:   func(r row) string { return "poolserver.ems.mitigation.dev/" + r.Server },
		columns: append(namespaceColumn(namespaces, func(r row) string { return r.Namespace }), []column[row]{
			{head: "POOL", name: "Pool", value: func(r row) string { return r.Pool }},
			{head: "SERVER", name: "Server", value: func(r row) string { return r.Server }},
			{head: "ID", name: "ID", value: func(r row) string { return r.ID }},
			{head: "TYPE", name: "Type", value: func(r row) string { return r.Type }},
			{head: "STATUS", name: "Status", value: func(r row) string { return r.Status }, tone: toneOf},
			{head: "SEVERITY", wide: true, name: "Severity", value: func(r row) string { return r.Severity }},
			{head: "CVE", wide: true, name: "CVE", value: func(r row) string { return strings.Join(r.CVEs, ",") }},
			{head: "REVISION", wide: true, name: "Revision", value: func(r row) string { return known(r.Revision) }},
			{head: "REASON", wide: true, name: "Reason", value: func(r row) string { return r.Reason }},
			{head: "READY", wide: true, name: "Ready", value: func(r row) string { return r.Ready }},
			{head: "DESCRIPTION", name: "Description", value: func(r row) string { return r.Description }},
			{name: "Changed", value: func(r row) string { return timestamp(r.ChangedTime) }},
			{name: "Message", value: func(r row) string { return r.Message }},
		}...),
	}
}

func poolList(namespaces bool) list[PoolRow] {
	type row = PoolRow
	return list[row]{
		document: sheet.Document{Root: "Pools", Item: "Pool"},
		object:   func(r row) string { return "poolmitigationconfig.ems.mitigation.dev/" + r.Pool },
		columns: append(namespaceColumn(namespaces, func(r row) string { return r.Namespace }), []column[row]{
			{head: "POOL", name: "Name", value: func(r row) string { return r.Pool }},
			{head: "MODE", name: "Mode", value: func(r row) string { return r.Mode }},
			{head: "IN SYNC", name: "InSync", value: func(r row) string { return r.InSync }},
			{head: "APPLIED", name: "Applied", value: func(r row) string { return r.Applied }},
			{head: "ROLLOUT", name: "Rollout", value: func(r row) string { return r.Rollout }},
			{head: "BLOCKED", name: "Blocked", value: func(r row) string { return r.Blocked }},
			{head: "FAILED", name: "Failed", value: func(r row) string { return r.Failed }},
			{head: "SERVERS", wide: true, name: "Servers", value: func(r row) string { return number(r.Servers) }},
			{head: "SILENT", wide: true, name: "Silent", value: func(r row) string { return number(r.Silent) }},
			{head: "FQDN", wide: true, name: "FQDN", value: func(r row) string { return r.FQDN }},
			{head: "READY", name: "Ready", value: func(r row) string { return r.Ready }},
			{head: "REASON", name: "Reason", value: func(r row) string { return r.Reason }},
			{head: "MESSAGE", wide: true, name: "Message", value: func(r row) string { return r.Message }},
		}...),
	}
}

func serverList(namespaces bool) list[ServerRow] {
	type row = ServerRow
	return list[row]{
		document: sheet.Document{Root: "Servers", Item: "Server"},
		object:   func(r row) string { return "poolserver.ems.mitigation.dev/" + r.Server },
		columns: append(namespaceColumn(namespaces, func(r row) string { return r.Namespace }), []column[row]{
			{head: "POOL", name: "Pool", value: func(r row) string { return r.Pool }},
			{head: "SERVER", name: "Name", value: func(r row) string { return r.Server }},
			{head: "APPLIED", name: "Applied", value: func(r row) string { return r.Applied }},
			{head: "BLOCKED", name: "Blocked", value: func(r row) string { return r.Blocked }},
			{head: "FAILED", name: "Failed", value: func(r row) string { return r.Failed }},
			{head: "INEFFECTIVE", name: "Ineffective", value: func(r row) string { return r.Ineffective }},
			{head: "BUILD", name: "Build", value: func(r row) string { return r.Build }},
			{head: "PRODUCT", wide: true, name: "Product", value: func(r row) string { return r.Product }},
			{head: "AGENT", wide: true, name: "Agent", value: func(r row) string { return r.Agent }},
			{head: "SYSTEM", wide: true, name: "System", value: func(r row) string { return r.System }},
			{head: "READY", name: "Ready", value: func(r row) string { return r.Ready }},
			{head: "REASON", name: "Reason", value: func(r row) string { return r.Reason }},
			{head: "MESSAGE", wide: true, name: "Message", value: func(r row) string { return r.Message }},
		}...),
	}
}

func feedList(now time.Time) list[FeedRow] {
	type row = FeedRow
	return list[row]{
		document: sheet.Document{Root: "Feeds", Item: "Feed"},
		object:   func(r row) string { return "mitigationfeed.ems.mitigation.dev/" + r.Feed },
		columns: []column[row]{
			{head: "FEED", name: "Name", value: func(r row) string { return r.Feed }},
			{head: "PRODUCT", name: "Product", value: func(r row) string { return r.Product }},
			{head: "MITIGATIONS", name: "Mitigations", value: func(r row) string { return number(r.Mitigations) }},
			{head: "SEQUENCE", name: "Sequence", value: func(r row) string { return known(r.Sequence) }},
			{head: "FRESH", name: "Fresh", value: func(r row) string { return r.Fresh }},
			{head: "LAST READ", value: func(r row) string { return age(r.LastReadTime, now) }},
			{name: "LastRead", value: func(r row) string { return timestamp(r.LastReadTime) }},
			{head: "READY", name: "Ready", value: func(r row) string { return r.Ready }},
			{head: "REASON", name: "Reason", value: func(r row) string { return r.Reason }},
			{head: "PUSH", wide: true, name: "Push", value: func(r row) string { return r.Push }},
			{head: "URL", wide: true, name: "URL", value: func(r row) string { return r.URL }},
			{head: "MESSAGE", wide: true, name: "Message", value: func(r row) string { return r.Message }},
		},
	}
}

// namespaceColumn is always in files, and in tables where there may be several namespaces.
func namespaceColumn[T any](shown bool, value func(T) string) []column[T] {
	c := column[T]{name: "Namespace", value: value}
	if shown {
		c.head = "NAMESPACE"
	}
	return []column[T]{c}
}

func age(t *time.Time, now time.Time) string {
	if t == nil {
		return ""
	}
	return duration.HumanDuration(max(0, now.Sub(*t))) + " ago"
}
