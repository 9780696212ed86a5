"""Level 3: every vector operation equals its NumPy definition, bit for bit."""

from __future__ import annotations

import importlib
import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numba
import numpy as np
import pytest

from nets import same
from refsnn.kernels import (
    decisions,
    dense,
    gradients,
    intrinsics,
    pairs,
    shared,
    subsets,
)
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
            for kind, terms in product((np.uint16, np.uint32), (0, 1, 7)):
                listed = np.sort(rng.integers(0, 7, 9)).astype(kind)
                how = (x, bases, 2, offsets, listed, 2, 2 + terms, registers)
                yield dense.add_products, (v, 3, table, 5, *how)
            if dtype in FLOATS:
                yield from errors(x, table)
            yield intrinsics.add_masked, (v, 3, x, 7, bits, 2, registers)
            yield intrinsics.subtract_masked, (v, 3, x, 7, bits, 2, registers)
            yield decisions.keep_above, (v, 1, x, 2, bits, 3, registers)
            counts = rng.integers(-1, 3, some + 4).astype(np.int32)
            level = numbers(rng, dtype, some + 9)
            marks = words(rng, 9)
            for reach in (-1, 0, 1, 3):
                near = (dtype(reach), marks, 1)
                how = (v % 16, 1, x % 16, 2)
                yield decisions.mark_near, (*how, *near, registers)
                yield decisions.fire, (*how, *near, bits, 3, registers)
                yield decisions.fire, (v, 1, x, 2, *near, bits, 3, registers)
                for least in (0, -(2**31)):
                    spikes = (counts, 4, least, bits, 3, 8, registers)
                    how = (v, 1, x, 2, level, 9)
                    yield decisions.fire_both, (*how, *near, *spikes)
            yield from blocks(rng, v, table, registers)
            yield from windows(rng, v, registers)
    for word in (0, 1, 0x8000, 0xFFFF, *words(rng, 20)):
        yield decisions.count_bits, (np.uint16(word),)
        two = np.append(words(rng, 3), np.uint16(word))
        for kind in (np.uint16, np.uint32):
            for at, gap in ((3, -1), (0, 3), (1, 1), (3, 0)):
                events = np.zeros(60, dtype=kind)
                yield decisions.append_set_bits, (events, 7, two, at, gap, 1000)


def errors(z: np.ndarray, table: np.ndarray) -> Iterator[tuple[Callable, tuple]]:
    """Arguments of errors: inputs at both ends of the clip, beyond and between."""
    number = z.dtype.type
    theta = np.abs(table) + number(0.25)
    z[2:5] = 0, theta[8], np.nextafter(theta[9], number(9))
    for T in (1, 4, 32):
        layer = (table, 3, theta, theta / number(T), 6)
        how = (number(T), number(0.3), np.linspace(0, 2, LANES))
        yield gradients.add_errors, (table.copy(), 5, z, 1, *layer, *how)


def blocks(
    rng: np.random.Generator,
    v: np.ndarray,
    table: np.ndarray,
    registers: tuple[int, ...],
) -> Iterator[tuple[Callable, tuple]]:
    """Arguments of sums of several steps: patterns of few events, and of none."""
    some = LANES * len(registers)
    for K in (1, 4) if len(registers) == 1 else (2,):
        patterns, gap = 2**K - 1, 5
        lengths = rng.integers(0, 3, (patterns, gap))
        first = lengths.cumsum().astype(np.int32)
        events = rng.integers(0, 7, 4 * patterns * gap).astype(np.uint16)
        sums = np.resize(v, 3 * K * some)
        terms, begin = rng.integers(0, 9, K), some * K + 3
        for operation in (shared.add_shared, shared.subtract_shared):
            how = (sums, 1, sums[::-1].copy(), begin, table, some, events, first)
            yield operation, (*how, 1, gap, 3, terms, (0,) * K, registers)


def windows(
    rng: np.random.Generator, v: np.ndarray, registers: tuple[int, ...]
) -> Iterator[tuple[Callable, tuple]]:
    """Arguments of sums that are looked up, in windows of some rows and of none."""
    rows = numbers(rng, v.dtype.type, 6 * LANES**2).reshape(-1, LANES)
    sums = np.append(numbers(rng, v.dtype.type, LANES), subsets.subset_sums(rows))
    for kind in (np.uint16, np.uint32):
        some = words(rng, 60).astype(kind)
        for number, span, gap in (
            (2, 3, 1),
            (1, 4, 2),
            (2, 1, 2),
            (3, 2, 3),
            (0, 3, 1),
        ):
            how = (sums, LANES, some, 1, 15, number, (0,) * span, (0,) * gap)
            yield subsets.add_looked_up, (v, 5, *how, registers)
        events = np.zeros(90, dtype=kind)
        yield intrinsics.copy, (events, 3, words(rng, 90), 5, registers)


def test_sums_of_subsets(rng: np.random.Generator) -> None:
    rows = rng.integers(-(2**30), 2**30, (8, 3)).astype(np.int32)
    sums = subsets.subset_sums(rows)
    assert sums.shape == (2, 17, 3)
    for k in range(16):
        held = [bit for bit in range(4) if k >> bit & 1]
        with np.errstate(over="ignore"):
            assert same(sums[0, k], rows[held].sum(axis=0, dtype=np.int32))
            assert same(sums[1, k], rows[4:][held].sum(axis=0, dtype=np.int32))
    assert not sums[:, 16].any()


def test_terms_behind_the_first_4096(rng: np.random.Generator) -> None:
    """16-bit places times 16 lanes leave 16 bits."""
    listed = np.array([4095, 4096, 5000], dtype=np.uint16)
    weights = numbers(rng, np.float32, 5001 * LANES)
    x, offsets = numbers(rng, np.float32, 9), rng.integers(0, 9, 5001)
    how = (weights, 0, x, np.zeros(1, np.int64), 0, offsets, listed, 0, 3, (0,))
    got, want = np.zeros((2, LANES), dtype=np.float32)
    compiled(dense.add_products)(got, 0, *how)
    for t in (4095, 4096, 5000):
        want += x[offsets[t]] * weights[LANES * t : LANES * (t + 1)]
    assert same(got, want)
    again = np.zeros(LANES, dtype=np.float32)
    DEFINITIONS[dense.add_products](again, 0, *how)
    assert same(again, want)


def copies(arguments: tuple) -> tuple:
    return tuple(aligned(a) if isinstance(a, np.ndarray) else a for a in arguments)


@pytest.mark.parametrize("T", [1, 4, 6, 7])
@pytest.mark.parametrize("K", [1, 2, 3, 4])
def test_spikes_are_split_by_patterns(K: int, T: int, rng: np.random.Generator) -> None:
    B, size, blocks = 3, 5, -(-T // K)
    spikes = words(rng, 2 + B * T * size)
    arena = np.append(spikes, words(rng, B * blocks * (2**K - 1) * size))
    shared.split((0,) * K, arena, 2, len(spikes), B, T, size)
    assert same(arena[: len(spikes)], spikes)
    got = arena[len(spikes) :].reshape(B, blocks, 2**K - 1, size)
    full = np.zeros((B, blocks * K, size), dtype=np.uint16)
    full[:, :T] = spikes[2:].reshape(B, T, size)
    steps = full.reshape(B, blocks, K, size)
    for pattern in range(1, 2**K):
        held = [pattern >> k & 1 for k in range(K)]
        want = np.full((B, blocks, size), 0xFFFF, dtype=np.uint16)
        for k in range(K):
            want &= steps[:, :, k] if held[k] else ~steps[:, :, k]
        assert same(got[:, :, pattern - 1], want)


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


def test_a_kernel_is_compiled_again_when_any_source_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "kernel_of_test.py"
    source.write_text("def add(a, b):\n    return a + b\n")
    monkeypatch.syspath_prepend(tmp_path)
    add = importlib.import_module("kernel_of_test").add

    def hits() -> int:
        kernel = pairs.exact(add)
        assert kernel(1, 2) == 3
        return sum(kernel.stats.cache_hits.values())

    assert [hits(), hits()] == [0, 1]
    index = Path(pairs.exact(add)._cache._cache_file._index_path)
    with index.open("rb") as file:
        pickle.load(file)
        kept = file.tell()
    index.write_bytes(index.read_bytes()[:kept] + b"names what has moved")
    monkeypatch.setattr(pairs, "SOURCES", "others")
    assert [hits(), hits()] == [0, 1]
