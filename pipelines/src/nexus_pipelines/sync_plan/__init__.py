"""Step 1 of a sync: what changed in the bucket, cut into shards."""
