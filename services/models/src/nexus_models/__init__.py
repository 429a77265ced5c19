"""Model files by URI: fetched once, checked by digest, opened safely."""
