"""Re-verifies every decision of a replay from its event file alone; shares no code with the scheduler it judges."""
