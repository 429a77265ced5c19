"""`golden-list`: the golden sets of a namespace, and the corrections that are in none."""
