"""Which pod goes next: a queue per tenant, fair between tenants, groups all or nothing, a reason for who waits. Pure.

Read `queue` first (`Queue.round`), then `round` (the order of one round) and `line` (one tenant's queue).
docs/decisions/0401 says why nothing blocks and nothing starves.
"""
