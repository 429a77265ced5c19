// Not built: the CustomResourceDefinitions of products that the charts make resources for.
module llmops.nexus/tests/charts/definitions

go 1.24

require (
	github.com/prometheus-operator/prometheus-operator v0.85.0
	sigs.k8s.io/gateway-api v1.3.0
)
