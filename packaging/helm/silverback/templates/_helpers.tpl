{{/* Names and labels. */}}
{{- define "silverback.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "silverback.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "silverback.labels" -}}
{{ include "silverback.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* Environment of the node: what the chart sets, under what the user's env says. Plugins join those of env.plugins. */}}
{{- define "silverback.env" -}}
{{- $env := dict "KONG_STATUS_LISTEN" (printf "0.0.0.0:%v" .Values.status.port) -}}
{{- if .Values.admin.enabled -}}
{{- $_ := set $env "KONG_ADMIN_LISTEN" "0.0.0.0:8001" -}}
{{- end -}}
{{- $names := list -}}
{{- range concat .Values.plugins.configMaps .Values.plugins.secrets -}}
{{- $names = append $names .pluginName -}}
{{- end -}}
{{- if ne (len $names) (len (uniq $names)) -}}
{{- fail "plugins: each pluginName may be given once" -}}
{{- end -}}
{{- if $names -}}
{{- $_ := set $env "KONG_LUA_PACKAGE_PATH" "/opt/?.lua;/opt/?/init.lua;;" -}}
{{- end -}}
{{- range $name, $value := .Values.env -}}
{{- $_ := set $env (printf "KONG_%s" (upper $name)) $value -}}
{{- end -}}
{{- if $names -}}
{{- $base := get $env "KONG_PLUGINS" | default "bundled" -}}
{{- if kindIs "map" $base -}}
{{- fail "env.plugins must be text when plugins.configMaps or plugins.secrets are given" -}}
{{- end -}}
{{- $_ := set $env "KONG_PLUGINS" (join "," (prepend $names $base)) -}}
{{- end -}}
{{- range $name := keys $env | sortAlpha }}
{{- $value := get $env $name }}
- name: {{ $name }}
{{- if kindIs "map" $value }}
{{ toYaml $value | indent 2 }}
{{- else if kindIs "float64" $value }}
  value: {{ if eq $value (float64 (int64 $value)) }}{{ printf "%d" (int64 $value) | quote }}{{ else }}{{ $value | toString | quote }}{{ end }}
{{- else }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Mounts of plugins: the folder, then what goes below it. */}}
{{- define "silverback.plugin.mounts" -}}
{{- range concat .Values.plugins.configMaps .Values.plugins.secrets }}
{{- $plugin := . }}
- name: plugin-{{ .pluginName }}
  mountPath: /opt/kong/plugins/{{ .pluginName }}
  readOnly: true
{{- range $i, $_ := .subdirectories }}
- name: plugin-{{ $plugin.pluginName }}-{{ $i }}
  mountPath: /opt/kong/plugins/{{ $plugin.pluginName }}/{{ .path }}
  readOnly: true
{{- end }}
{{- end }}
{{- end -}}

{{- define "silverback.plugin.volumes" -}}
{{- range .Values.plugins.configMaps }}
{{- $plugin := . }}
- name: plugin-{{ .pluginName }}
  configMap:
    name: {{ .name }}
{{- range $i, $_ := .subdirectories }}
- name: plugin-{{ $plugin.pluginName }}-{{ $i }}
  configMap:
    name: {{ .name }}
{{- end }}
{{- end }}
{{- range .Values.plugins.secrets }}
{{- $plugin := . }}
- name: plugin-{{ .pluginName }}
  secret:
    secretName: {{ .name }}
{{- range $i, $_ := .subdirectories }}
- name: plugin-{{ $plugin.pluginName }}-{{ $i }}
  secret:
    secretName: {{ .name }}
{{- end }}
{{- end }}
{{- end -}}
