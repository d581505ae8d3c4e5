"""Replays a trace against a cluster: every pod in turn through the placement cycle, then what came of it."""
