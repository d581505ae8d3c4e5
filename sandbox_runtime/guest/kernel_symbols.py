"""What the guest's own kernel is configured to be, and whether the kernel's rules let it. Pure."""

from __future__ import annotations

from pathlib import Path

CONFIG = Path(__file__).parent / "kernel_config" / "guest.config"


def wanted_symbols(config: str) -> dict[str, str]:
    """What the configuration file decides: symbol -> value."""
    lines = (line.strip() for line in config.splitlines())
    pairs = (line.split("=", 1) for line in lines if line.startswith("CONFIG_"))
    return {name: value for name, value in pairs}  # noqa: C416 - a pair is a list here


def dropped_symbols(wanted: dict[str, str], resolved: str) -> list[str]:
    """Decisions that the kernel's own rules overruled, for lack of something that they depend on."""
    settled = wanted_symbols(resolved)
    return sorted(name for name, value in wanted.items() if settled.get(name, "n") != value)
