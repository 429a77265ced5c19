"""The Kubernetes API of one machine: what the command line and the gateway speak to."""

from nexus_local.api.server import ControlServer

__all__ = ["ControlServer"]
