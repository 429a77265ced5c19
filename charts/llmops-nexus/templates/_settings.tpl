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
  source: {{ .Values.events.source }}
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
workflowTemplateKind: {{ .Values.workflows.templateKind }}
{{- end -}}
