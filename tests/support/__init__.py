"""What several test rooms share: builders, and the real components."""
