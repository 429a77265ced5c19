"""The end of a job: what its runs left in the work store is removed."""
