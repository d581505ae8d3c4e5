"""Who uses how much of what: the quota tree, the ledger of pods, reclaim and fair shares. Pure.

Read `book` first (`Ledger`: admit, release, usage), then `tree` (the algebra of one dimension). `reclaim` chooses
whom to evict, `fair` says what would be fair, `standing` is what reports show. The scheduler's store keeps a
ledger on disk and shares it between processes.
"""
