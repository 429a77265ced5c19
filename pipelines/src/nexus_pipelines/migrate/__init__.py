"""Bring the ledger's tables to this release."""
