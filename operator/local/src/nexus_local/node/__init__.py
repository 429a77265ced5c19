"""Pods, Deployments and Services of one machine as child processes and loopback ports."""

from nexus_local.node.backoff import Backoff
from nexus_local.node.node import Memory, Node
from nexus_local.node.warm import Preload

__all__ = ["Backoff", "Memory", "Node", "Preload"]
