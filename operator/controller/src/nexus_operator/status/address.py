"""The address at which a Service answers."""

from nexus_api.meta import Manifest
from nexus_operator.objects import name_of


def service_url(service: Manifest) -> str:
    """Return the URL of a Service: its own ingress address where it has one, else its DNS name.

    On the laptop a Service is a loopback port, which stands as an ingress in its status.
    """
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    for point in ingress:
        ports = point.get("ports") or []
        if point.get("ip") and ports:
            return f"http://{point['ip']}:{ports[0]['port']}"
    port = service["spec"]["ports"][0]["port"]
    return f"http://{name_of(service)}.{service['metadata']['namespace']}.svc:{port}"
