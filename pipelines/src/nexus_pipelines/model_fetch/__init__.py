"""A model is brought to a folder, for an engine that wants one."""
