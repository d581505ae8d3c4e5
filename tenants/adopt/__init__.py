"""From what exists to tenant files: live objects, Kueue, Capsule -> a model and its documents. Pure."""
