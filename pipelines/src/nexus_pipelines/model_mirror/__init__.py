"""A model is copied into a bucket, for clusters without a way to the internet."""
