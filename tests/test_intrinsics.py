"""Level 3: every vector operation equals its NumPy definition, bit for bit."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numba
import numpy as np
import pytest

from nets import same
from refsnn.kernels import decisions, dense, intrinsics
from refsnn.kernels.intrinsics import DEFINITIONS, LANES
from refsnn.numerics import aligned

FLOATS = (np.float64, np.float32)
NUMBERS = (*FLOATS, np.int32)
WIDTHS = (1, 4)


def compiled(operation: Callable) -> Callable:
    """The operation as a function of Python's."""
    names = ", ".join(inspect.signature(DEFINITIONS[operation]).parameters)
    scope = {"operation": operation}
    exec(f"def call({names}): return operation({names})", scope)
    return numba.njit(scope["call"])


def numbers(rng: np.random.Generator, dtype: type, size: int) -> np.ndarray:
    """Values of every size, with ties; integers over their whole range at times."""
    if dtype is np.int32:
        wide = rng.integers(-(2**31), 2**31, size).astype(np.int32)
        return np.where(rng.random(size) < 0.7, wide % 7 - 3, wide).astype(np.int32)
    values = rng.integers(-3, 4, size) + (rng.random(size) < 0.3) * rng.normal(
        size=size
    )
    return values.astype(dtype)


def words(rng: np.random.Generator, size: int) -> np.ndarray:
    return rng.integers(0, 2**16, size).astype(np.uint16)


def cases(rng: np.random.Generator) -> Iterator[tuple[Callable, tuple]]:
    """Arguments of every operation, on every number of registers."""
    for dtype in NUMBERS:
        for count in WIDTHS:
            registers, some = (0,) * count, LANES * count
            v, x = (numbers(rng, dtype, 3 * some + 5) for _ in range(2))
            bits = words(rng, 12)
            table = aligned(numbers(rng, dtype, 9 * some))
            for listed in (0, 1, 2, 7):
                events = rng.integers(0, 7, 9).astype(np.uint32)
                for operation in (intrinsics.add_rows, intrinsics.subtract_rows):
                    span = (2, 2 + listed)
                    yield operation, (v, 5, table, some, events, *span, registers)
            yield intrinsics.move, (v, 3, x, some, registers)
            yield intrinsics.add, (v, 3, x, some, registers)
            scale = dtype(rng.integers(-9, 9)) / dtype(1)
            yield intrinsics.add_scaled, (v, 3, x, 1, dtype(scale), registers)
            bases, offsets = rng.integers(0, 5, some), rng.integers(0, 11, 7)
            for terms in (0, 1, 7):
                how = (x, bases, 2, offsets[:terms].copy(), registers)
                yield dense.add_products, (v, 3, table, 5, *how)
            yield intrinsics.add_masked, (v, 3, x, 7, bits, 2, registers)
            yield intrinsics.subtract_masked, (v, 3, x, 7, bits, 2, registers)
            yield decisions.fire_above, (v, 1, x, 2, bits, 3, registers)
            yield decisions.keep_above, (v, 1, x, 2, bits, 3, registers)
            counts = rng.integers(-1, 3, some + 4).astype(np.int32)
            for least in (0, -(2**31)):
                how = (counts, 4, least, bits, 3, registers)
                level = numbers(rng, dtype, some + 9)
                yield decisions.fire_below, (v, 1, x, 2, level, 9, *how)
            for reach in (0, 1, 3):
                how = (dtype(reach), bits, 1, registers)
                yield decisions.mark_near, (v % 16, 1, x % 16, 2, *how)
    for word in (0, 1, 0x8000, 0xFFFF, *words(rng, 20)):
        yield decisions.count_bits, (np.uint16(word),)
        events = np.zeros(40, dtype=np.uint32)
        yield decisions.append_set_bits, (events, 7, np.uint16(word), 1000)


def copies(arguments: tuple) -> tuple:
    return tuple(aligned(a) if isinstance(a, np.ndarray) else a for a in arguments)


def test_every_operation_equals_its_definition(rng: np.random.Generator) -> None:
    made = {operation: compiled(operation) for operation in DEFINITIONS}
    seen, changed = set(), set()
    for operation, arguments in cases(rng):
        want, got = copies(arguments), copies(arguments)
        with np.errstate(over="ignore"):
            expected = DEFINITIONS[operation](*want)
        assert made[operation](*got) == expected
        for k, (a, b) in enumerate(zip(want, got, strict=True)):
            if isinstance(a, np.ndarray):
                end = expected if operation is decisions.append_set_bits else len(a)
                assert same(b[:end], a[:end]), (operation, arguments[-1], k)
                if not same(a, arguments[k]):
                    changed.add(operation)
        seen.add(operation)
    assert seen == set(DEFINITIONS)
    assert changed == seen - {decisions.count_bits}  # the cases reach something


@pytest.mark.parametrize("processor", ["generic"])
def test_on_other_processors(processor: str) -> None:
    """The same, compiled for narrower registers."""
    test = f"{Path(__file__).name}::test_every_operation_equals_its_definition"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        cwd=Path(__file__).parent,
        env={
            **os.environ,
            "NUMBA_CPU_NAME": processor,
            "NUMBA_CPU_FEATURES": "",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
