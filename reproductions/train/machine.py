"""What a network was trained on."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
"""Where Linux names the processor."""


def processor() -> str:
    """Name the processor."""
    if CPUINFO.exists():
        for line in CPUINFO.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def machine(threads: int, gpu: str | None) -> dict[str, Any]:
    """Say which processor, how many of its threads, and which GPU trains."""
    return {"processor": processor(), "threads": threads, "gpu": gpu}
