"""The end of an index: its collections and ledger rows are removed."""
