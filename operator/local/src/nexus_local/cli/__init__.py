"""The `nexus` command line: one module per family of verbs, one index in `main`."""
