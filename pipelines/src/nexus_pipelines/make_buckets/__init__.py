"""The buckets of the platform are made."""
