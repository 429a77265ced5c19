"""The address at which a Service answers."""

from nexus_api.meta import Manifest
from nexus_operator.objects import name_of


def service_url(service: Manifest) -> str:
    """Return the URL of a Service: its own ingress address where it has one, else its DNS name.

    Its first port says by its name how to speak to it: grpc, else http.  On the laptop a Service
    is a loopback port, which stands as an ingress in its status.
    """
    first = service["spec"]["ports"][0]
    scheme = "grpc" if first.get("name") == "grpc" else "http"
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    for point in ingress:
        ports = point.get("ports") or []
        if point.get("ip") and ports:
            return f"{scheme}://{point['ip']}:{ports[0]['port']}"
    namespace = service["metadata"]["namespace"]
    return f"{scheme}://{name_of(service)}.{namespace}.svc:{first['port']}"
