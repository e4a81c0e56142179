{{- define "coterie.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Name of everything that is installed: the release's, followed by the chart's unless it is part of it. */}}
{{- define "coterie.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "coterie.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "coterie.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Name of objects that all releases of a cluster share a scope with. */}}
{{- define "coterie.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "coterie.fullname" .) }}
{{- end }}

{{- define "coterie.selectorLabels" -}}
app.kubernetes.io/name: {{ include "coterie.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "coterie.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "coterie.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: coterie
{{- end }}

{{- define "coterie.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "coterie.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "coterie.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* What the operator may do where it looks after jobs; docs/operations.md tells why, verb by verb. */}}
{{- define "coterie.rules" -}}
- apiGroups: [coterie.dev]
  resources: [clusteringjobs]
  verbs: [list, watch]
- apiGroups: [coterie.dev]
  resources: [clusteringjobs/status]
  verbs: [patch]
# Owner references that block the owner's deletion need this where the API server checks them (OwnerReferencesPermissionEnforcement).
- apiGroups: [coterie.dev]
  resources: [clusteringjobs/finalizers]
  verbs: [update]
# Records of runs and configurations of serving: they never change. `get` tells whose an object is that has a name already.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, delete]
# Certificates of runs: written once, never read.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, delete]
# A Job belongs to its controllers once it is created, so it is never changed.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Server-side apply: `patch`, and `create` where the object is new. `get` tells whether a name belongs to somebody else.
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}
