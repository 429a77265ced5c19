"""The cluster as the control plane sees it: one protocol, two implementations."""
