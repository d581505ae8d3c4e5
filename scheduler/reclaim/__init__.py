"""Whom to evict so that a pod gets room and quota: victims that the laws, budgets and nodes allow. Pure."""
