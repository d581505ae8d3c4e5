"""Runs a pod in a microVM with a kernel of its own. Stands alone: imports neither scheduler nor tenants."""
