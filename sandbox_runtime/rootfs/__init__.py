"""What a container finds at `/`: read-only layers as shared erofs disks, one private ext4 disk above them."""
