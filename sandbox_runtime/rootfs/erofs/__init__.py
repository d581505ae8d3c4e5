"""Writes and reads uncompressed erofs images: a layer becomes a disk without ever being unpacked on the host."""
