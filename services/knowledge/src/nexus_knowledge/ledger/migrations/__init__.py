"""Alembic migrations of the ledger, in two steps: expand, and a release later contract.

A migration runs while processes of the release before still read and write.  So a release may add
tables, indexes, and columns that are nullable or have a default in the database; it may neither
rename, narrow nor remove what the release before uses.  The release after it may remove what
nothing uses any more.  Back to the release before is then possible without touching the tables.
Revisions are numbers of four digits.
"""
