"""How many threads a run may take."""

from __future__ import annotations

import os


def processors() -> int:
    """Count the processors that this process may use.

    Returns
    -------
    int
        At least one.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
