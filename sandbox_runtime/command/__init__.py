"""`bulkhead sandbox …`: one module for each command, and what they share."""
