"""Step 2 of a sync: one shard's documents become chunks with vectors, staged in the collection."""
