"""Published figures for the openb traces and the bars that the project holds itself to. Pure data.

GPU allocation in percent at 130 % load, mean and population standard deviation over 10 seeds, recomputed from the
result files of the reference simulator of FGD (Weng et al., USENIX ATC 2023). Its random generator is another one, so
only means and spreads can agree, never single runs.
"""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """Mean and standard deviation of two policies of the reference simulator."""

    best_fit: float
    best_fit_sd: float
    fgd: float
    fgd_sd: float


ALLOCATION_PCT = {
    "default": Published(93.08, 0.13, 95.39, 0.08),
    "cpu050": Published(93.79, 0.14, 95.21, 0.09),
    "cpu100": Published(93.44, 0.12, 95.35, 0.13),
    "cpu200": Published(92.40, 0.23, 95.05, 0.15),
    "cpu250": Published(91.45, 0.21, 93.41, 0.26),
    "gpushare40": Published(91.69, 0.20, 94.15, 0.06),
    "gpushare60": Published(89.36, 0.18, 91.40, 0.11),
    "gpushare80": Published(87.01, 0.22, 89.30, 0.12),
    "gpushare100": Published(85.01, 0.19, 86.90, 0.14),
    "gpuspec10": Published(93.30, 0.19, 94.95, 0.20),
    "gpuspec20": Published(93.30, 0.08, 94.84, 0.12),
    "gpuspec25": Published(93.23, 0.08, 94.74, 0.24),
    "gpuspec33": Published(93.09, 0.14, 94.55, 0.14),
    "multigpu20": Published(93.93, 0.22, 95.65, 0.15),
    "multigpu30": Published(94.72, 0.21, 96.46, 0.08),
    "multigpu40": Published(95.23, 0.22, 96.99, 0.09),
    "multigpu50": Published(95.74, 0.18, 97.18, 0.10),
}

BULKHEAD_AT_LEAST_PCT = {
    "default": 96.1,
    "cpu250": 94.5,
    "gpushare60": 92.1,
    "gpuspec20": 95.8,
    "multigpu50": 97.5,
}
FGD_WITHIN_POINTS = 0.3
"""How far our FGD that knows the whole trace may be from the published one."""

GROWTH_BELOW = 4.0
"""Processor time per decision at 100,000 nodes over that at 5,000."""
MEMORY_BELOW_MIB = 2048
"""Peak memory of a run with 100,000 nodes and 800,000 pods."""
