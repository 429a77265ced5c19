"""`run-diff`: what got better and what got worse between two runs, item by item."""
