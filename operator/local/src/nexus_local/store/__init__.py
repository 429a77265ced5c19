"""Kubernetes objects on one machine: SQLite behind the Cluster protocol."""
