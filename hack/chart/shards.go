package main

import (
	"fmt"
	"strings"
)

// shardEdits make templates of the main manager those of the manager of a shard.
var shardEdits = map[string][]edit{
	"manager.yaml": {
		{from: "  name: ems-manager\n", to: "  name: ems-manager-{{ $shard.name }}\n"},
		{from: "\n    app.kubernetes.io/component: manager\n", to: "\n    app.kubernetes.io/component: manager-of-shard\n    " + shardLabel},
		{from: "\n      app.kubernetes.io/component: manager\n", to: "\n      app.kubernetes.io/component: manager-of-shard\n      " + shardLabel},
		{from: "\n        app.kubernetes.io/component: manager\n", to: "\n        app.kubernetes.io/component: manager-of-shard\n        " + shardLabel},
		{from: "\n              app.kubernetes.io/component: manager\n", to: "\n              app.kubernetes.io/component: manager-of-shard\n              " + shardLabel},
	},
	"metrics_service.yaml": {
		{from: "  name: ems-manager-metrics\n", to: "  name: ems-manager-metrics-{{ $shard.name }}\n"},
		{from: "    app.kubernetes.io/component: manager\nspec:\n", to: "    app.kubernetes.io/component: manager\n    " + shardLabel + "spec:\n"},
		{from: "    app.kubernetes.io/component: manager\n  ports:\n", to: "    app.kubernetes.io/component: manager-of-shard\n    " + shardLabel + "  ports:\n"},
	},
}

const shardLabel = "ems.mitigation.dev/shard: {{ $shard.name }}\n"

// What a template of the main manager finds as its values: those of the release and, before them, those of the shard, without what the main
// manager does alone.
const eachShard = `{{- range $shard := .Values.shards }}
{{- $own := dict "page" (dict "enabled" false) "telemetry" (dict "url" "") "extraArgs" (append (without $.Values.extraArgs "--client-certificates") (printf "--shard=%s" $shard.name)) }}
{{- $values := mergeOverwrite (deepCopy $.Values) $own (omit $shard "name") }}
{{- with dict "Values" $values "Release" $.Release "Chart" $.Chart }}
---
`

// forEachShard makes a template for the managers of shards from the one of the main manager.
func forEachShard(name, template string) (string, error) {
	head, body, found := strings.Cut(template, "\n")
	if !found {
		return "", fmt.Errorf("is not there")
	}
	for _, change := range shardEdits[name] {
		if found := strings.Count(body, change.from); found != 1 {
			return "", fmt.Errorf("%q is there %d times and not once: the edits of hack/chart no longer fit", change.from, found)
		}
		body = strings.Replace(body, change.from, change.to, 1)
	}
	return head + "\n" + eachShard + body + "{{- end }}\n{{- end }}\n", nil
}
