{{- /* What each account may do.  tests/charts/golden holds the rendered result. */ -}}
{{- define "nexus.operatorRules" -}}
- apiGroups: [llmops.nexus]
  resources: [ragindexes, servingmodels, finetunejobs]
  verbs: [get, list, watch]
# the finalizer of an index, and of a job; the sync that an alert asks for first
- apiGroups: [llmops.nexus]
  resources: [ragindexes, finetunejobs]
  verbs: [patch]
- apiGroups: [llmops.nexus]
  resources: [ragindexes/status, servingmodels/status, finetunejobs/status]
  verbs: [patch]
# OwnerReferencesPermissionEnforcement asks for it where a child blocks its owner's deletion
- apiGroups: [llmops.nexus]
  resources: [servingmodels/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
# what is never deleted goes with its owner
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
{{- if has "vllm" .Values.operator.engines }}
# which adapters the pods of a model load; those of the operator's own label are watched
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch]
{{- end }}
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch]
{{- if .Values.metrics.serviceMonitor.enabled }}
# where Prometheus finds the metrics of runtimes
- apiGroups: [monitoring.coreos.com]
  resources: [podmonitors]
  verbs: [get, list, watch, create, patch]
{{- end }}
# why a runtime does not start
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# what it did, for `kubectl describe`
- apiGroups: [""]
  resources: [events]
  verbs: [get, create, patch]
{{- end -}}

{{- define "nexus.discoveryRules" -}}
# kopf notices when our definitions come or go
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [list, watch]
{{- end -}}

{{- define "nexus.operatorPlatformRules" -}}
- apiGroups: [argoproj.io]
  resources: [workflows]
  # patch: a run that somebody cancels is told to end
  verbs: [get, list, watch, create, patch, delete]
# how far a training is, by the end of its log
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# whether a run of a resource that goes has a pod left, which may still write
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [argoproj.io]
  resources: [eventsources, sensors]
  {{- if ne .Values.events.source "none" }}
  verbs: [get, list, watch, create, patch, delete]
  {{- else }}
  # those that it made before: an EventBus stays while somebody listens
  verbs: [get, delete]
  {{- end }}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [nexus-operator]
  verbs: [get, patch]
# its own Deployment, which owns what it makes for the whole platform
- apiGroups: [apps]
  resources: [deployments]
  resourceNames: [nexus-operator]
  verbs: [get]
{{- end -}}

{{- define "nexus-gateway.rules" -}}
- apiGroups: [llmops.nexus]
  resources: [ragindexes, servingmodels]
  verbs: [list, watch]
# a sync after an upload, or a notice of the bucket, unless one was asked for already
- apiGroups: [llmops.nexus]
  resources: [ragindexes]
  verbs: [get, patch]
{{- end -}}

{{- define "nexus-monitor.rules" -}}
- apiGroups: [llmops.nexus]
  resources: [ragindexes, servingmodels, finetunejobs]
  verbs: [list]
# a sync, a run, a stop of promotions: annotations, as the admission policy says
- apiGroups: [llmops.nexus]
  resources: [ragindexes, finetunejobs]
  verbs: [patch]
{{- end -}}

{{- define "nexus-events.rules" -}}
# without create: an alert for a job that is not there makes none
- apiGroups: [llmops.nexus]
  resources: [finetunejobs]
  verbs: [get, patch]
{{- end -}}
