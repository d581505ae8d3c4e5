"""What a sandbox costs to start and to keep, beside the same machine without us."""
