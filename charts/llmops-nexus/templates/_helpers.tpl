{{- /* Labels of one part: (dict "root" $ "component" "gateway") */ -}}
{{- define "nexus.selector" -}}
app.kubernetes.io/name: llmops-nexus
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "nexus.labels" -}}
{{ include "nexus.selector" . }}
app.kubernetes.io/part-of: llmops-nexus
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* Reference of one of our images: (dict "root" $ "image" "gateway") */ -}}
{{- define "nexus.image" -}}
{{- $image := index .root.Values.images .image -}}
{{- $registry := .root.Values.global.imageRegistry | default $image.registry | default .root.Values.images.registry -}}
{{- if $registry }}{{ $registry }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{- /* Names of all pull secrets, as a JSON list of strings. */ -}}
{{- define "nexus.pullSecretNames" -}}
{{- concat .Values.global.imagePullSecrets .Values.images.pullSecrets | uniq | toJson -}}
{{- end -}}

{{- define "nexus.pullSecrets" -}}
{{- with include "nexus.pullSecretNames" . | fromJsonArray }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "nexus.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "nexus.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* Where pods may run: (dict "of" .Values.gateway) */ -}}
{{- define "nexus.scheduling" -}}
{{- with .of.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* The platform's addresses, as a map. */ -}}
{{- define "nexus.platform" -}}
{{- $stated := dict
      "NEXUS_BUCKET_URL" .Values.platform.bucketUrl
      "NEXUS_WORK_URL" .Values.platform.workUrl
      "NEXUS_MODELS_URL" .Values.platform.modelsUrl
      "NEXUS_TRACKING_URL" .Values.platform.trackingUrl
      "NEXUS_S3_ENDPOINT" .Values.platform.s3.endpoint
      "NEXUS_S3_REGION" .Values.platform.s3.region
      "NEXUS_MILVUS_URI" .Values.platform.milvusUri
      "NEXUS_EMBEDDER_URL" (printf "http://nexus-embedder.%s.svc" .Release.Namespace)
      "NEXUS_MODEL_CACHE" "/models"
      "NEXUS_MODEL_FILE_ROOTS" (join ":" .Values.platform.modelFileRoots)
      "NEXUS_MODEL_PACKAGES" (join "," .Values.platform.modelPackages)
      "NEXUS_LOG_LEVEL" .Values.platform.logLevel }}
{{- range $name, $value := .Values.platform.extra }}{{ $_ := set $stated $name $value }}{{ end }}
{{- range $name, $value := $stated }}
{{ $name | quote }}: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- /* The variables of a container; what a user gives takes the place of ours, or comes behind, where
       `$(NAME)` may mean one of ours: (dict "ours" (dict) "given" .Values.gateway.env) */ -}}
{{- define "nexus.env" -}}
{{- $given := .given | default dict }}
{{- range $name, $value := .ours }}
- {name: {{ $name | quote }}, value: {{ ternary (get $given $name) $value (hasKey $given $name) | quote }}}
{{- end }}
{{- range $name, $value := $given }}
{{- if not (hasKey $.ours $name) }}
- {name: {{ $name | quote }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
{{- end -}}

{{- /* The credentials, as a map; only when the chart makes the Secret. */ -}}
{{- define "nexus.credentials" -}}
{{- $given := .Values.credentials -}}
NEXUS_LEDGER_URL: {{ required "credentials.ledgerUrl is needed when credentials.existingSecret is empty" $given.ledgerUrl | quote }}
NEXUS_S3_ACCESS_KEY: {{ required "credentials.s3AccessKey is needed when credentials.existingSecret is empty" $given.s3AccessKey | quote }}
NEXUS_S3_SECRET_KEY: {{ required "credentials.s3SecretKey is needed when credentials.existingSecret is empty" $given.s3SecretKey | quote }}
{{- with $given.milvusToken }}
NEXUS_MILVUS_TOKEN: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "nexus.platformEnvFrom" -}}
- configMapRef:
    name: nexus-platform
- secretRef:
    name: {{ include "nexus.credentialsSecret" . | quote }}
{{- end -}}

{{- define "nexus.credentialsSecret" -}}
{{- .Values.credentials.existingSecret | default "nexus-platform" -}}
{{- end -}}

{{- /* Annotations that roll a pod when what it was started with changes: a Secret that is not ours by
       what the cluster has now.  Argo CD and `helm template` ask no cluster, and see no change. */ -}}
{{- define "nexus.platformHash" -}}
{{- $found := dict }}
{{- with .Values.credentials.existingSecret }}{{ $found = (lookup "v1" "Secret" $.Release.Namespace .).data | default dict }}{{ end -}}
llmops.nexus/platform-hash: {{ printf "%s %s %s" (include "nexus.platform" .) (.Values.credentials | toJson) ($found | toJson) | sha256sum | trunc 16 }}
{{- end -}}

{{- /* Not empty where the kinds of the Prometheus operator are: `helm template` is told by
       --api-versions, as Argo CD tells it. */ -}}
{{- define "nexus.monitored" -}}
{{- if .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" }}true{{ end -}}
{{- end -}}

{{- /* Fails where a value names what this release made: as the chart then has it no more, Helm would
       delete it.  (dict "root" $ "kind" "Secret" "name" .Values.a.b "value" "a.b") */ -}}
{{- define "nexus.notOurs" -}}
{{- if .name }}
{{- $namespace := .root.Release.Namespace }}
{{- $notes := dig "metadata" "annotations" dict (lookup "v1" .kind $namespace .name) }}
{{- $kept := eq (get $notes "helm.sh/resource-policy") "keep" }}
{{- if and (eq (get $notes "meta.helm.sh/release-name") .root.Release.Name) (not $kept) }}
{{- fail (printf "%s names the %s %s, which this release made and would delete now: leave the value empty, or have it kept first by `kubectl -n %s annotate %s %s helm.sh/resource-policy=keep`" .value .kind .name $namespace (lower .kind) .name) }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "nexus.noticesSecret" -}}
{{- .Values.events.noticesSecret | default "nexus-notices" -}}
{{- end -}}

{{- define "nexus.modelsClaim" -}}
{{- .Values.models.existingClaim | default "nexus-models" -}}
{{- end -}}

{{- define "nexus.httpProbes" -}}
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 2
  failureThreshold: {{ div (.startSeconds | default 120) 2 }}
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 2
  timeoutSeconds: 3
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end -}}
