"""Telling the metrics of the server of the pod, on a port of its own."""
