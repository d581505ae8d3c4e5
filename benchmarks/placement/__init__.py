"""How well and how fast pods are placed: quality on traces beside published figures, speed and memory at scale."""
