"""The door of the scripts here: what is wrong with the input is said in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from refsnn.errors import RefsnnError


def guarded(script: Callable[[], None]) -> None:
    """Run a script; unusable input ends it with a message and exit code 2."""
    try:
        script()
    except (RefsnnError, OSError) as error:
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        sys.exit(2)
