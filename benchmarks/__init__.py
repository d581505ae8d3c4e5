"""Prints the figures the project stands on; nobody imports it."""
