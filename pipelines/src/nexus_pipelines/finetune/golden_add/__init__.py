"""`golden-add`: corrected answers become items of a new version of a golden set."""
