"""Draws clusters and pod lists by a seed, so that everything can be run without a download."""
