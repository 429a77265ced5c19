"""The operator as a process: its settings file, its Lease, its health, its logs."""
