"""The laboratory's fixtures."""

from fault_lab.fixtures import connections_of_killed_operators, errors, server, tell

__all__ = ["connections_of_killed_operators", "errors", "server", "tell"]
