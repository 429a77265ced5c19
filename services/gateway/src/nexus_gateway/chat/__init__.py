"""Chat completions: proxied, or grounded on passages with citations."""
