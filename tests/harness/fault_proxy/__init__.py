"""A proxy between a Kubernetes client and an API server that records and disturbs.

`FaultProxy` forwards everything as it is, notes each request, and carries out a script of typed
faults (`fault_proxy.faults`).  It knows the paths of the Kubernetes API and nothing of ours.
"""

from fault_proxy.asked import Asked
from fault_proxy.proxy import FaultProxy
from fault_proxy.record import Exchange, Record

__all__ = ["Asked", "Exchange", "FaultProxy", "Record"]
