"""Reads images without containerd: an OCI layout, an archive of one, a docker archive, or a plain directory."""
