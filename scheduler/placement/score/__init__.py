"""Which of the places that fit is best: scoring policies, one small class each, found by name in `registry`."""
