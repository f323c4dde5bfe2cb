package main

import (
	"strings"
	"testing"
)

const role = `# Why there is a role.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: a
  namespace: ems-system
rules: []
`

func TestConvert(t *testing.T) {
	for name, tc := range map[string]struct {
		part, file, source string
		want               []string
		wantError          string
	}{
		"labels are added and the namespace is that of the release": {
			part: "rbac", file: "some.yaml", source: role,
			want: []string{"# Why there is a role.\n", "  namespace: {{ .Release.Namespace }}\n  labels:\n    {{- include \"ems.labels\" . | nindent 4 }}\nrules: []\n"},
		},
		"labels that are there stay": {
			part: "rbac", file: "some.yaml", source: strings.Replace(role, "  name: a\n", "  labels:\n    own: label\n  name: a\n", 1),
			want: []string{"  labels:\n    {{- include \"ems.labels\" . | nindent 4 }}\n    own: label\n"},
		},
		"every document is converted": {
			part: "rbac", file: "some.yaml", source: "---\n" + role + "---\n" + strings.Replace(role, "name: a", "name: b", 1),
			want: []string{"name: a\n  namespace: {{ .Release.Namespace }}", "\n---\n", "name: b\n  namespace: {{ .Release.Namespace }}"},
		},
		"subjects and policies follow the ServiceAccount": {
			part: "admission", file: "some.yaml",
			source: role + "subjects:\n  - kind: ServiceAccount\n    name: ems-manager\nexpression: user == 'system:serviceaccount:ems-system:ems-manager'\n",
			want: []string{
				"    name: {{ include \"ems.serviceAccountName\" . }}\n",
				"'system:serviceaccount:{{ .Release.Namespace }}:{{ include \"ems.serviceAccountName\" . }}'",
			},
		},
		"what looks like a template is text": {
			part: "rbac", file: "some.yaml", source: role + "text: '{{ $labels.x }}'\n",
			want: []string{`text: '{{ "{{" }} $labels.x }}'`},
		},
		"a kind can be kept and left out": {
			part: "crd", file: "some.yaml", source: "kind: CustomResourceDefinition\nmetadata:\n  annotations:\n    a: b\n  name: a\nspec: {}\n",
			want: []string{"{{- if .Values.crds.install }}\n", "helm.sh/resource-policy: keep\n", "{{- end }}\n"},
		},
		"a namespace in an unknown place is found": {
			part: "rbac", file: "some.yaml", source: role + "host: ems-manager.ems-system.svc\n", wantError: "still names the namespace",
		},
		"an object without metadata is none": {part: "rbac", file: "some.yaml", source: "kind: Role\n", wantError: "no metadata"},
		"an edit that does not fit any more is an error": {
			part: "manager", file: "manager.yaml", source: strings.Replace(role, "kind: Role", "kind: Deployment", 1), wantError: "no longer fit",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := convert(tc.part, tc.file, tc.source)
			if tc.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantError) {
					t.Fatalf("want an error with %q, got %v", tc.wantError, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range tc.want {
				if !strings.Contains(got, text) {
					t.Errorf("want %q in:\n%s", text, got)
				}
			}
		})
	}
}

func TestEveryEditHasItsFile(t *testing.T) {
	files, err := generate("../../config")
	if err != nil {
		t.Fatal(err)
	}
	for source := range edits {
		if files["templates/generated/"+source] == "" {
			t.Errorf("%s: is edited and not there", source)
		}
	}
	for source := range conditions {
		if files["templates/generated/"+source] == "" {
			t.Errorf("%s: has a condition and is not there", source)
		}
	}
}
