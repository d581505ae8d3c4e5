"""How a volume reaches the guest: as a disk, over the network, through virtiofs, or as copies of small files."""
