{{- /* The operator's settings file. */ -}}
{{- define "nexus.settings" -}}
platformNamespace: {{ .Release.Namespace }}
watchNamespaces: {{ .Values.operator.watchNamespaces | toJson }}
images:
  {{- range $role := list "gateway" "embedder" "pipelines" "trainer" "llamacpp" }}
  {{ $role }}: {{ include "nexus.image" (dict "root" $ "image" $role) }}
  {{- end }}
  evaluator: {{ .Values.images.evaluator | quote }}
  vllm: {{ .Values.images.vllm | quote }}
  triton: {{ .Values.images.triton | quote }}
imagePullSecrets: {{ include "nexus.pullSecretNames" . }}
engines: {{ .Values.operator.engines | toJson }}
profiles:
  {{- toYaml .Values.profiles | nindent 2 }}
modelCache:
  mode: {{ .Values.modelCache.mode }}
  claim: {{ .Values.modelCache.claim | quote }}
  storageClass: {{ .Values.modelCache.storageClass | quote }}
  size: {{ .Values.modelCache.size }}
modelCredentials: {{ .Values.modelCache.credentialsSecret | quote }}
modelFileRoots: {{ .Values.platform.modelFileRoots | toJson }}
modelPackages: {{ .Values.platform.modelPackages | toJson }}
events:
  source: {{ include "nexus.eventsSource" . }}
  bucket: {{ trimPrefix "s3://" .Values.platform.bucketUrl | quote }}
  eventBus: default
  serviceAccount: nexus-events
  authSecret: {{ .Values.events.authSecret | quote }}
  noticesSecret: {{ include "nexus.noticesSecret" . | quote }}
  alerts: {{ and .Values.events.alerts (ne .Values.events.source "none") }}
  alertsSecret: {{ .Values.events.alertsSecret | quote }}
  endpoint: {{ regexReplaceAll "^https?://" .Values.platform.s3.endpoint "" | quote }}
  insecure: {{ hasPrefix "http://" .Values.platform.s3.endpoint }}
  credentialsSecret: {{ include "nexus.credentialsSecret" . | quote }}
{{- with .Values.metrics.serviceMonitor }}
{{- if .enabled }}
scrape:
  interval: {{ .interval }}
  labels: {{ .labels | toJson }}
  namespaces: {{ $.Values.networkPolicy.metricsNamespaceSelector | toJson }}
{{- end }}
{{- end }}
workflowTemplateKind: {{ .Values.workflows.templateKind }}
{{- end -}}

{{- /* How it is heard of uploads.  Fails where that can never be; a MinIO behind a load balancer of
       Amazon's (elb.amazonaws.com) is one like any other. */ -}}
{{- define "nexus.eventsSource" -}}
{{- $endpoint := .Values.platform.s3.endpoint -}}
{{- $amazon := "s3(-[a-z0-9-]+)?[.](dualstack[.])?([a-z]+(-[a-z]+)+-[0-9]+[.])?(vpce[.])?amazonaws[.]com([.]cn)?" -}}
{{- $deaf := printf "(?i)^https?://([^/]+[.])?(%s|storage[.]googleapis[.]com)[.]?(:[0-9]+)?(/|$)" $amazon -}}
{{- if and (eq .Values.events.source "minio") (regexMatch $deaf $endpoint) -}}
{{- fail (printf "events.source minio cannot work with platform.s3.endpoint %s: it listens by a protocol of MinIO's own, which the S3 of Amazon and of Google refuses; set events.source none (each index then looks at its interval), or webhook with jobs.bucketNotify.enabled false where alerts are to start runs" $endpoint) -}}
{{- end -}}
{{- .Values.events.source -}}
{{- end -}}
