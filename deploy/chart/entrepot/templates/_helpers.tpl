{{- define "entrepot.name" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride }}
{{- else if contains "entrepot" .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-entrepot" .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- /* What selects the objects of a part, which never changes. */ -}}
{{- define "entrepot.selector" -}}
app.kubernetes.io/name: entrepot
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "entrepot.labels" -}}
{{ include "entrepot.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
{{- end -}}

{{- define "entrepot.metadata" -}}
name: {{ include "entrepot.name" .root }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "entrepot.labels" . | nindent 2 }}
{{- end -}}

{{- define "entrepot.image" -}}
image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{- /* What no container of the chart may do. */ -}}
{{- define "entrepot.walls" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{- /* entrepot.yaml: the values, with the certificate of the door where there is one. */ -}}
{{- define "entrepot.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.tls.secret -}}
{{- $pair := dict "cert" "/etc/entrepot/tls/tls.crt" "key" "/etc/entrepot/tls/tls.key" -}}
{{- $_ := set $config "listen" (dict "address" .Values.config.listen "tls" $pair) -}}
{{- end -}}
{{ toYaml $config }}
{{- end -}}

{{- /* What nodes need of it: the names of the upstreams and where they are, and nothing that is secret. */ -}}
{{- define "entrepot.nodesConfig" -}}
{{- $config := pick .Values.config "defaultUpstream" -}}
{{- with .Values.config.upstreams -}}
{{- $upstreams := dict -}}
{{- range $name, $upstream := . -}}
{{- $_ := set $upstreams $name (pick ($upstream | default dict) "url") -}}
{{- end -}}
{{- $_ := set $config "upstreams" $upstreams -}}
{{- end -}}
{{ toYaml $config }}
{{- end -}}

{{- /* The folder of a node's file system that is mounted for its kind of runtime, and no other. */ -}}
{{- define "entrepot.nodesFolder" -}}
{{- $folders := dict
  "containerd" "/etc/containerd"
  "crio" "/etc/containers"
  "podman" "/etc/containers"
  "docker" "/etc/docker"
  "k3s" "/etc/rancher/k3s"
  "rke2" "/etc/rancher/rke2" -}}
{{ get $folders .Values.nodes.kind }}
{{- end -}}
