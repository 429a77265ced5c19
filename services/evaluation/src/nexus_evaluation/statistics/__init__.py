"""The statistics of paired per-item results; nothing here knows models, files or verdicts."""
