"""The platform on one machine: what `nexus up` starts and how others find it."""
