"""Keeps the ledger and shares it: check and reserve are one step, in SQLite or Redis. Read `protocol` first."""
