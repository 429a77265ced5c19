"""`python -m nexus_local` is `nexus`."""

from nexus_local.cli.main import main

main()
