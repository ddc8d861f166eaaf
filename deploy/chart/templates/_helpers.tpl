{{/* How far the steps go: 1 to 4. */}}
{{- define "authentik.step" -}}
{{- $step := required "step is required, at every installation and upgrade: prepare, then seal, then filter (README.md says what to look at in between)" .Values.step -}}
{{- get (dict "prepare" "1" "seal" "2" "filter" "3" "reload" "4") $step -}}
{{- end -}}

{{- define "authentik.isWaypoint" -}}
{{- if and (eq .Values.platform "istio") (eq .Values.gateway.kind "waypoint") }}yes{{ end -}}
{{- end -}}

{{- define "authentik.isClassic" -}}
{{- if and (eq .Values.platform "istio") (eq .Values.gateway.kind "classic") }}yes{{ end -}}
{{- end -}}

{{/* Istio's seal and filter are about the same pods. */}}
{{- define "authentik.target" -}}
{{- if include "authentik.isClassic" . -}}
selector:
  matchLabels: {{ toJson .Values.gateway.labels }}
{{- else -}}
targetRefs:
  - {group: gateway.networking.k8s.io, kind: Gateway, name: {{ quote .Values.gateway.name }}}
{{- end -}}
{{- end -}}

{{/* The same for an EnvoyFilter. */}}
{{- define "authentik.patchTarget" -}}
{{- if include "authentik.isClassic" . -}}
workloadSelector:
  labels: {{ toJson .Values.gateway.labels }}
{{- else -}}
{{ include "authentik.target" . }}
{{- end -}}
{{- end -}}

{{- define "authentik.principal" -}}
{{- $name := .Values.gateway.name -}}
{{- $own := printf "%s-istio" $name -}}
{{- if include "authentik.isClassic" . }}{{ $own = "istio-ingressgateway" }}{{ end -}}
{{- if include "authentik.isWaypoint" . }}{{ $own = $name }}{{ end -}}
{{- printf "%s/ns/%s/sa/%s" .Values.istio.trustDomain .Values.gateway.namespace (default $own .Values.gateway.serviceAccount) -}}
{{- end -}}

{{/* The ConfigMap or EnvoyProxy that a Gateway names. */}}
{{- define "authentik.parameters" -}}
{{- if eq .Values.platform "envoy-gateway" -}}
{group: gateway.envoyproxy.io, kind: EnvoyProxy, name: {{ quote .Values.gateway.name }}}
{{- else -}}
{group: "", kind: ConfigMap, name: {{ if include "authentik.isWaypoint" . }}authentik-waypoint-options{{ else }}authentik-gateway-options{{ end }}}
{{- end -}}
{{- end -}}

{{/* Variables of the container, from the Secret. */}}
{{- define "authentik.environment" -}}
{{- range .Values.secret.variables }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ $.Values.secret.name }}, key: {{ . }}}}
{{- end }}
{{- end -}}

{{- define "authentik.connectionSettings" -}}
connectionSettings:
  httpRequestTimeout: {{ .Values.limits.request }}
  httpStreamIdleTimeout: {{ .Values.limits.streamIdle }}
  httpMergeSlashes: true
  httpHeadersWithUnderscoresAction: HEADERS_WITH_UNDERSCORES_REJECT_REQUEST
  httpPathWithEscapedSlashesAction: KEEP_UNCHANGED
{{- end -}}

{{/* Envoy's cluster that leads to authentik. */}}
{{- define "authentik.cluster" -}}
{{- if eq .Values.platform "istio" -}}
{{- printf "outbound|%v||%s" .Values.authentik.port .Values.authentik.hostname -}}
{{- else if eq .Values.envoyGateway.way "route" -}}
{{- printf "httproute/%s/authentik-outpost/rule/0" .Values.gateway.namespace -}}
{{- else -}}
authentik
{{- end -}}
{{- end -}}

{{- define "authentik.url" -}}
{{- $port := int .Values.authentik.port -}}
https://{{ .Values.authentik.hostname }}{{ if ne $port 443 }}:{{ $port }}{{ end }}
{{- end -}}

{{- define "authentik.digest" -}}
{{- $digest := required "image.digest is required" .Values.image.digest -}}
{{- if regexMatch "^sha256:0{64}$" $digest }}{{ fail "image.digest is the placeholder: give the digest of the image's manifest" }}{{ end -}}
{{- $digest -}}
{{- end -}}

{{- define "authentik.version" -}}
{{- default .Chart.AppVersion .Values.image.tag -}}
{{- end -}}

{{/* The variable of the token with which the filter reads its providers from authentik. */}}
{{- define "authentik.token" -}}
{{- dig "authentik" "token" "env" "" (default (dict) .Values.settings) -}}
{{- end -}}

{{/* The filter's configuration. Secrets in it are names of variables only. */}}
{{- define "authentik.config" -}}
{{- $config := deepCopy (default (dict) .Values.settings) -}}
{{- $calls := dict "cluster" (include "authentik.cluster" .) "host" (include "authentik.url" .) -}}
{{- $_ := set $config "authentik" (merge $calls (default (dict) $config.authentik)) -}}
{{- $_ := set $config "seal" (dict "header" .Values.seal.header "values" (list (dict "env" .Values.seal.variable))) -}}
{{- $throttle := default (dict) $config.throttle -}}
{{- /* A waypoint does not see clients but other proxies: the source's address is not the client's. */ -}}
{{- if and (not (include "authentik.isWaypoint" .)) (not (hasKey $throttle "trust_source_address")) -}}
{{- $_ := set $throttle "trust_source_address" true -}}
{{- end -}}
{{- if $throttle }}{{ $_ := set $config "throttle" $throttle }}{{ end -}}
{{- $providers := list -}}
{{- if not (or .Values.providers (include "authentik.token" .)) }}{{ fail "providers, or settings.authentik.token, is required from step filter on" }}{{ end -}}
{{- range .Values.providers -}}
{{- $secrets := dict "client_secret" (dict "env" "AUTHENTIK_CLIENT_SECRET") "cookie_secret" (dict "env" "AUTHENTIK_COOKIE_SECRET") -}}
{{- if and (gt (len $.Values.providers) 1) (not (hasKey . "client_secret")) }}{{ fail (printf "providers: %s has no client_secret, and there are several providers" .assigned_application_slug) }}{{ end -}}
{{- $providers = append $providers (merge (deepCopy .) $secrets) -}}
{{- end -}}
{{- if $providers }}{{ $_ := set $config "providers" $providers }}{{ end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* What WasmPlugin and TrafficExtension have in common. */}}
{{- define "authentik.plugin" -}}
pluginName: authentik
url: oci://{{ .Values.image.repository }}@{{ include "authentik.digest" . }}
# Never FAIL_OPEN: everybody is let in, unjudged, also when the image cannot be fetched.
failStrategy: FAIL_RELOAD
vmConfig:
  # HOST: the value stays in the pod.
  env:
    {{- range .Values.secret.variables }}
    - {name: {{ . }}, valueFrom: HOST}
    {{- end }}
pluginConfig:
  {{- include "authentik.config" . | nindent 2 }}
{{- end -}}

{{- define "authentik.gatewayRef" -}}
{group: gateway.networking.k8s.io, kind: Gateway, name: {{ quote .Values.gateway.name }}}
{{- end -}}
