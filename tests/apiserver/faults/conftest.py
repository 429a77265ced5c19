"""The laboratory's fixtures."""

from fault_lab.fixtures import errors, server, tell

__all__ = ["errors", "server", "tell"]
