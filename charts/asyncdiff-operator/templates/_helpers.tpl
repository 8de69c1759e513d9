{{- define "asyncdiff.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "asyncdiff.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else -}}
{{- $name := include "asyncdiff.name" . -}}
{{- /* A release named asyncdiff makes what the kustomization makes: asyncdiff-operator. */ -}}
{{- if hasPrefix (printf "%s-" .Release.Name) $name -}}
{{ $name }}
{{- else -}}
{{ contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) | trunc 63 | trimSuffix "-" }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "asyncdiff.selector" -}}
app.kubernetes.io/name: {{ include "asyncdiff.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "asyncdiff.labels" -}}
{{ include "asyncdiff.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: asyncdiff
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "asyncdiff.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "asyncdiff.fullname" .) }}
{{- end }}

{{- define "asyncdiff.lease" -}}
{{ .Values.settings.leaseName | default (include "asyncdiff.fullname" .) }}
{{- end }}

{{- /* The name of an image: (dict "image" .Values.image "root" $). */ -}}
{{- define "asyncdiff.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* What the operator may do in the namespaces that it serves. */ -}}
{{- define "asyncdiff.rules" -}}
{{ .Files.Get "files/rules.yaml" }}
{{- if eq (.Values.settings.progress | default "podIP") "proxy" }}
- apiGroups: [""]
  resources: [pods/proxy]
  verbs: [get]
{{- end }}
{{- end }}
