{{- define "stack.selector" -}}
app.kubernetes.io/name: nexus-stack
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{- define "stack.labels" -}}
{{ include "stack.selector" . }}
app.kubernetes.io/part-of: llmops-nexus
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "stack.image" -}}
{{- $image := (index .root.Values .name).image -}}
{{- with .root.Values.global.imageRegistry | default $image.registry }}{{ . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag }}{{ end -}}
{{- end -}}

{{- define "stack.pullSecrets" -}}
{{- with .Values.global.imagePullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- /* Of one part: on which nodes its pods run. */ -}}
{{- define "stack.placed" -}}
{{- with .nodeSelector -}}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* Of one part: as whom its pods run. */ -}}
{{- define "stack.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .user }}
fsGroup: {{ .user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "stack.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* One part: its volume claim, its Deployment, its Service.
       (dict "root" $ "name" "minio" "port" 9000 "dataPath" "/data" "env" [YAML] "mounts" [YAML]
       "volumes" [YAML] "probe" {handler} "liveness" {handler, default a connection}) */ -}}
{{- define "stack.part" -}}
{{- $part := index .root.Values .name -}}
{{- $full := print "nexus-" .name -}}
{{- if not $part.storage.existingClaim }}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ $full }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "stack.labels" . | nindent 4 }}
  annotations:
    # data outlives the release
    helm.sh/resource-policy: keep
spec:
  accessModes: [ReadWriteOnce]
  {{- with $part.storage.storageClass }}
  storageClassName: {{ . | quote }}
  {{- end }}
  resources:
    requests:
      storage: {{ $part.storage.size }}
---
{{- end }}
apiVersion: v1
kind: Service
metadata:
  name: {{ $full }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "stack.labels" . | nindent 4 }}
spec:
  selector:
    {{- include "stack.selector" . | nindent 4 }}
  ports:
    - {name: {{ .portName | default "tcp" }}, port: {{ .port }}, targetPort: main}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $full }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "stack.labels" . | nindent 4 }}
spec:
  replicas: 1
  # one writer of the volume at a time
  strategy:
    type: Recreate
  selector:
    matchLabels:
      {{- include "stack.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "stack.labels" . | nindent 8 }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 60
      {{- include "stack.pullSecrets" .root | nindent 6 }}
      {{- include "stack.placed" $part | nindent 6 }}
      securityContext:
        {{- include "stack.podSecurity" $part | nindent 8 }}
      containers:
        - name: {{ .name }}
          image: {{ include "stack.image" . }}
          imagePullPolicy: {{ .root.Values.imagePullPolicy }}
          {{- with $part.command }}
          command: {{ . | toJson }}
          {{- end }}
          {{- with $part.args }}
          args:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          env:
            {{- range prepend (.env | default "" | fromYamlArray) (dict "name" "HOME" "value" "/tmp") }}
            {{- if not (hasKey ($part.env | default dict) .name) }}
            - {{ . | toJson }}
            {{- end }}
            {{- end }}
            {{- range $name, $value := $part.env }}
            - {name: {{ $name | quote }}, value: {{ $value | quote }}}
            {{- end }}
          ports:
            - {name: main, containerPort: {{ .port }}}
          startupProbe:
            {{- .probe | toYaml | nindent 12 }}
            periodSeconds: 2
            failureThreshold: 150
          readinessProbe:
            {{- .probe | toYaml | nindent 12 }}
            periodSeconds: 5
            timeoutSeconds: 3
          livenessProbe:
            {{- .liveness | default (dict "tcpSocket" (dict "port" "main")) | toYaml | nindent 12 }}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          resources:
            {{- toYaml $part.resources | nindent 12 }}
          securityContext:
            {{- include "stack.containerSecurity" .root | nindent 12 }}
          volumeMounts:
            - {name: data, mountPath: {{ .dataPath }}, subPath: {{ .name }}}
            - {name: tmp, mountPath: /tmp}
            {{- with .mounts }}
            {{- . | nindent 12 }}
            {{- end }}
      volumes:
        - name: data
          persistentVolumeClaim:
            claimName: {{ $part.storage.existingClaim | default $full | quote }}
        - name: tmp
          emptyDir: {}
        {{- with .volumes }}
        {{- . | nindent 8 }}
        {{- end }}
{{- end -}}
