"""Several files as one disk: the description that QEMU's vmdk driver reads. Pure.

A flat vmdk extent is a file as it is, so the layers stay what they are in the cache, shared by whoever reads them
(QEMU >= 5.0 opens the extents read-only where the disk is). Format: docs of VMware's "Virtual Disk Format 5.0".
"""

from __future__ import annotations

from collections.abc import Sequence

SECTOR = 512


def descriptor(extents: Sequence[tuple[str, int]]) -> str:
    """The descriptor file of a disk made of (path, bytes), in order; sizes in whole sectors.

    No blank lines: QEMU reads over them with sscanf(3) and would take the first extent twice. Paths stand in
    quotes that the format cannot escape; one with a quote or a line break is refused (ValueError).
    """
    lines = []
    for path, size in extents:
        if not path.isprintable() or '"' in path or size % SECTOR or size <= 0:
            raise ValueError(f"{path!r} of {size} bytes cannot be part of a joined disk")
        lines.append(f'RW {size // SECTOR} FLAT "{path}" 0')
    return "\n".join(
        [
            "# Disk DescriptorFile", "version=1", "CID=fffffffe", "parentCID=ffffffff",
            'createType="twoGbMaxExtentFlat"', "# Extent description", *lines,
            "# The Disk Data Base", 'ddb.virtualHWVersion = "4"',
            'ddb.geometry.cylinders = "1"', 'ddb.geometry.heads = "16"', 'ddb.geometry.sectors = "63"',
            'ddb.adapterType = "ide"', "",
        ]
    )  # fmt: skip
