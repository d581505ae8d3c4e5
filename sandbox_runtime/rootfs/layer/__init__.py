"""Reads a layer (OCI tar or snapshot directory) into an erofs image; whatever it contains is treated as hostile."""
