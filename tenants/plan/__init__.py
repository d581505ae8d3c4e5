"""What would change, and what that means: object diffs, effects between two models, order of steps. Pure."""
