"""What `nexus demo` declares and ingests."""
