{{/*
Labels of every object. Nothing of them is in a selector: selectors cannot be changed by an upgrade.
*/}}
{{- define "ems.labels" -}}
app.kubernetes.io/part-of: ems
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "ems.serviceAccountName" -}}
{{ .Values.serviceAccount.name }}
{{- end }}

{{- define "ems.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/*
What selects the manager's pods.
*/}}
{{- define "ems.selector" -}}
app.kubernetes.io/name: ems
app.kubernetes.io/component: manager
{{- end }}
