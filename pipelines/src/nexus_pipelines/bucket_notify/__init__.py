"""A bucket is told whom to notify of uploads and deletions."""
