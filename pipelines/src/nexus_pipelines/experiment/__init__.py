"""Experiments of a person: runs that are compared, beside those of FineTuneJobs."""
