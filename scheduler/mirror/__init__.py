"""The live cluster as placement and quota see it: what the API server says, made arrays. Read `mirror` first. Pure."""
