"""What a result was made with: versions, the source, and the processor."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

import refsnn

CPUINFO = Path("/proc/cpuinfo")
"""Where Linux names the processor."""


def versions() -> dict[str, str]:
    """Return the versions a result was made with.

    Returns
    -------
    dict of str to str
        refsnn, Python, platform, processor and the numerical libraries.
    """
    return {
        "refsnn": refsnn.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        **{name: version(name) for name in ("numpy", "numba", "scipy", "h5py")},
    }


@cache
def source_sha256() -> str:
    """Hash the package's own source, of which every result is.

    Returns
    -------
    str
        SHA-256 of its modules, in alphabetical order; declarations that are shipped
        with an installed package are none of them.
    """
    package = Path(__file__).parent
    digest = hashlib.sha256()
    shipped = set((package / "reproductions").glob("*.py"))
    for path in sorted(set(package.rglob("*.py")) - shipped):
        digest.update(f"{path.relative_to(package)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def processor() -> str:
    """Name the processor.

    Returns
    -------
    str
        As the system calls it, at the least its architecture.
    """
    if CPUINFO.exists():
        for line in CPUINFO.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()
