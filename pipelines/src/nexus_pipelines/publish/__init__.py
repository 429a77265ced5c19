"""Step 3 of a sync: what is ready goes live at once, what is superseded goes."""
