"""Keeps the ledger on disk and shares it: check and reserve are one transaction. Read `protocol` first."""
