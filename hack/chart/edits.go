package main

// conditions are the values that some files depend on as a whole.
var conditions = map[string]string{
	"rbac/service_account.yaml":      ".Values.serviceAccount.create",
	"manager/page_service.yaml":      ".Values.page.enabled",
	"manager/metrics_service.yaml":   ".Values.metrics.enabled",
	"prometheus/servicemonitor.yaml": ".Values.serviceMonitor.enabled",
	"prometheus/prometheusrule.yaml": ".Values.prometheusRule.enabled",
}

// edits are what single files have values for. The condition of a file comes after them.
var edits = map[string][]edit{
	"rbac/service_account.yaml": {{from: "  name: ems-manager\n", to: "  name: " + accountName + "\n" +
		"  {{- with .Values.serviceAccount.annotations }}\n  annotations:\n    {{- toYaml . | nindent 4 }}\n  {{- end }}\n"}},
	"manager/manager.yaml": {
		{from: "  replicas: 1\n", to: "  replicas: {{ .Values.replicas }}\n"},
		{
			from: "        kubectl.kubernetes.io/default-container: manager\n",
			to: "        kubectl.kubernetes.io/default-container: manager\n" +
				"        {{- with .Values.podAnnotations }}\n        {{- toYaml . | nindent 8 }}\n        {{- end }}\n",
		},
		{from: "      serviceAccountName: ems-manager\n", to: "      serviceAccountName: " + accountName + "\n" +
			"      {{- with .Values.image.pullSecrets }}\n      imagePullSecrets:\n        {{- toYaml . | nindent 8 }}\n      {{- end }}\n" +
			"      {{- with .Values.priorityClassName }}\n      priorityClassName: {{ . }}\n      {{- end }}\n" +
			"      {{- with .Values.nodeSelector }}\n      nodeSelector:\n        {{- toYaml . | nindent 8 }}\n      {{- end }}\n" +
			"      {{- with .Values.tolerations }}\n      tolerations:\n        {{- toYaml . | nindent 8 }}\n      {{- end }}\n" +
			"      {{- with .Values.affinity }}\n      affinity:\n        {{- toYaml . | nindent 8 }}\n      {{- end }}\n"},
		{from: "          image: ems-manager\n", to: "          image: {{ include \"ems.image\" . }}\n" +
			"          {{- with .Values.image.pullPolicy }}\n          imagePullPolicy: {{ . }}\n          {{- end }}\n"},
		{from: "            - --metrics-bind-address=:8443\n", to: when("metrics", "            - --metrics-bind-address=:8443\n") +
			when("metrics.certificate", "            - --metrics-cert-dir=/etc/ems/metrics\n")},
		{from: "            - --page-bind-address=:8444\n", to: when("page", "            - --page-bind-address=:8444\n") +
			when("page.certificate", "            - --page-cert-dir=/etc/ems/page\n") +
			"            {{- if .Values.telemetry.url }}\n" +
			"            - {{ printf \"--telemetry-url=%s\" .Values.telemetry.url | toJson }}\n" +
			"            {{- with .Values.telemetry.caBundle }}\n            - {{ printf \"--telemetry-ca-bundle=%s\" . | toJson }}\n            {{- end }}\n" +
			"            {{- with .Values.telemetry.proxyURL }}\n            - {{ printf \"--telemetry-proxy-url=%s\" . | toJson }}\n            {{- end }}\n" +
			"            {{- end }}\n" +
			"            {{- with .Values.extraArgs }}\n            {{- toYaml . | nindent 12 }}\n            {{- end }}\n"},
		ports("metrics", "8443"),
		ports("page", "8444"),
		{
			from: "            requests:\n              cpu: 50m\n              memory: 128Mi\n            limits:\n              memory: 512Mi\n",
			to: "            {{- toYaml .Values.resources | nindent 12 }}\n" +
				when("any.certificate", "          volumeMounts:\n") +
				when("metrics.certificate", mount("metrics")) + when("page.certificate", mount("page")),
		},
		{from: "      terminationGracePeriodSeconds: 10\n", to: "      terminationGracePeriodSeconds: 10\n" +
			when("any.certificate", "      volumes:\n") + when("metrics.certificate", volume("metrics")) + when("page.certificate", volume("page"))},
	},
	// The chart's own labels say the same.
	"shards/manager_role.yaml":         {{from: "    app.kubernetes.io/part-of: ems\n", to: ""}},
	"shards/manager_role_binding.yaml": {{from: "    app.kubernetes.io/part-of: ems\n", to: ""}},
	"shards/server_labels.yaml":        {{from: "    app.kubernetes.io/part-of: ems\n", to: "", times: 2}},
	"prometheus/prometheusrule.yaml": {{
		from: "    app.kubernetes.io/component: manager\nspec:\n",
		to: "    app.kubernetes.io/component: manager\n" +
			"    {{- with .Values.prometheusRule.labels }}\n    {{- toYaml . | nindent 4 }}\n    {{- end }}\nspec:\n",
	}},
	"prometheus/servicemonitor.yaml": {
		{
			from: "    app.kubernetes.io/component: manager\nspec:\n",
			to: "    app.kubernetes.io/component: manager\n" +
				"    {{- with .Values.serviceMonitor.labels }}\n    {{- toYaml . | nindent 4 }}\n    {{- end }}\nspec:\n",
		},
		{from: "      - ems-system\n", to: "      - " + releaseNamespace + "\n"},
		{from: "      interval: 30s\n", to: "      interval: {{ .Values.serviceMonitor.interval }}\n"},
		{from: "serverName: ems-manager-metrics.ems-system.svc\n", to: "serverName: ems-manager-metrics." + releaseNamespace + ".svc\n"},
		{
			from: "        # The manager signs a certificate for itself unless it is given one (--metrics-cert-dir). With one: name its authority in \"ca\" and\n" +
				"        # take this line out, since Prometheus sends its token to whoever answers.\n        insecureSkipVerify: true\n",
			to: "        {{- if .Values.metrics.certificateSecret }}\n" +
				"        {{- with .Values.serviceMonitor.authority.secret }}\n" +
				"        ca:\n          secret:\n            name: {{ . }}\n            key: {{ $.Values.serviceMonitor.authority.key }}\n        {{- end }}\n" +
				"        {{- else }}\n        # The manager signed its certificate itself: nobody knows it, and Prometheus sends its token to whoever answers.\n" +
				"        insecureSkipVerify: true\n        {{- end }}\n",
		},
	},
}

// tests are what parts of the manager depend on.
var tests = map[string]string{
	"metrics":             ".Values.metrics.enabled",
	"page":                ".Values.page.enabled",
	"metrics.certificate": "and .Values.metrics.enabled .Values.metrics.certificateSecret",
	"page.certificate":    "and .Values.page.enabled .Values.page.certificateSecret",
	"any.certificate": "or (and .Values.metrics.enabled .Values.metrics.certificateSecret) " +
		"(and .Values.page.enabled .Values.page.certificateSecret)",
}

// when makes lines depend on one of the tests.
func when(test, lines string) string {
	return "            {{- if " + tests[test] + " }}\n" + lines + "            {{- end }}\n"
}

func ports(name, number string) edit {
	lines := "            - name: " + name + "\n              containerPort: " + number + "\n              protocol: TCP\n"
	return edit{from: lines, to: when(name, lines)}
}

func mount(name string) string {
	return "            - name: " + name + "-certificate\n              mountPath: /etc/ems/" + name + "\n              readOnly: true\n"
}

func volume(name string) string {
	return "        - name: " + name + "-certificate\n          secret:\n            secretName: {{ .Values." + name + ".certificateSecret }}\n"
}
