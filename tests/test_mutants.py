"""Level 4: wrong neurons, activations and passes that levels 1 and 2 must kill.

Each mutant is a copy of the package with one change. A survivor is a missing test.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import refsnn
from refsnn import datasets
from refsnn.evaluate import processors

PACKAGE = Path(refsnn.__file__).parent
TESTS = Path(__file__).parent
PATIENCE = 600  # seconds; a mutant whose tests never end is killed, with a warning
pytestmark = pytest.mark.filterwarnings("default:.*took 600 s:UserWarning")
LAWS = ("test_tables.py", "test_laws.py", "test_laws_networks.py")

# name: (module, text, replacement, tests that must fail)
MUTANTS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "hard reset": (
        "neurons/base",
        "v = u - theta * s\n        N",
        "v = u * (s == 0)\n        N",
        LAWS,
    ),
    "no charge": (
        "neurons/base",
        "return self.discharge(state.v + x",
        "return self.discharge(state.v",
        LAWS,
    ),
    "clamped below": (
        "neurons/base",
        "v = u - theta * s\n        N",
        "v = (u - theta * s).clip(0)\n        N",
        LAWS,
    ),
    "v(0) = 0": ("neurons/runs", "np.broadcast_to(v0, shape)", "np.zeros(shape)", LAWS),
    "no negative spike": (
        "neurons/models",
        " - negative.astype",
        " - 0 * negative.astype",
        LAWS,
    ),
    "unguarded": (
        "neurons/models",
        "below & (N > 0) if self.guard",
        "below if self",
        LAWS,
    ),
    "negative spikes not counted": (
        "neurons/base",
        "        N = N + s",
        "        N = N + abs(s)",
        LAWS,
    ),
    "one step short": ("neurons/runs", "range(len(x))", "range(len(x) - 1)", LAWS),
    "absolute theta_neg": (
        "neurons/base",
        "divided[name] = value / unit",
        "divided[name] = value",
        LAWS,
    ),
    "rint for floor(x + 1/2)": (
        "numerics",
        "np.floor(x + bind(0.5, x))",
        "np.rint(x)",
        LAWS,
    ),
    "QCFS without clip": ("activations", "bind(0, z), bind(1, z))", "-9, 9)", LAWS),
    "batch norm without eps": ("layers/others", " + self.eps)", ")", LAWS),
    "convolution flipped": (
        "layers/linear_maps",
        "weight[:, :, c, p, q]",
        "weight[:, :, c, P - 1 - p, Q - 1 - q]",
        LAWS,
    ),
    "theta_in forgotten": (
        "layers/linear_maps",
        "(self.weight * columns) / rows",
        "self.weight / rows",
        LAWS,
    ),
    "pooling divisor forgotten": (
        "layers/linear_maps",
        "rows = divisor * rows",
        "rows = rows",
        LAWS,
    ),
    "v(0) not normalised": (
        "network/population",
        'v0=divided("v0")',
        "v0=self.v0",
        LAWS,
    ),
    "sums without the threshold": (
        "ranges",
        "np.maximum(np.maximum(self.P, self.Nn), 1.0)",
        "np.maximum(self.P, self.Nn)",
        ("test_certificate.py::test_thresholds_biases_and_v0_are_operands",),
    ),
    "a step forgotten": (
        "ranges",
        "(T - 1) * np.maximum",
        "(T - 2) * np.maximum",
        ("test_certificate.py::test_the_static_bound_holds_for_every_run",),
    ),
    "one more bit": (
        "accumulators",
        '"float32": Accumulator(dtype=np.float32, bits=24)',
        '"float32": Accumulator(dtype=np.float32, bits=25)',
        (
            "test_certificate.py::test_one_bit_over_the_edge_an_order_is_found_that_is_not_exact",
        ),
    ),
    "negative spikes forgotten": (
        "ranges",
        "min(*alphabet, 0), max(*alphabet, 0)",
        "0, max(*alphabet, 0)",
        ("test_certificate.py::test_ranges_are_attained",),
    ),
    "theta_neg to nearest": (
        "neurons/models",
        "else np.floor(steps)",
        "else np.rint(steps)",
        ("test_modes.py::test_rounded_neurons_decide_as_before_on_the_grid",),
    ),
    "wrap without the sign": (
        "fixed",
        "(u - least) % (2**self.accumulator) + least",
        "u % (2**self.accumulator)",
        ("test_modes.py::test_fixed_point_equals_plain_integers",),
    ),
    "a bound that halves the roundings": (
        "margin",
        "m = np.where(m > 0, m + extra, m)",
        "m = np.where(m > 0, m + extra, m) / 2**10",
        ("test_margin.py::test_a_bound_is_near_what_happens",),
    ),
    "qcfs without the half": (
        "methods/rules",
        "return IF(), v0 * theta",
        "return IF(), 0 * theta",
        ("test_methods.py::test_thresholds_and_starts_of_every_method",),
    ),
    "srp: nobody silenced": (
        "run/spiking",
        "masks, observing = first.masks(), first.result",
        "masks, observing = {}, first.result",
        (
            "test_methods.py::test_srp_masks_by_the_residual_potential_of_a_run_of_tau_steps",
        ),
    ),
    "srp-v0: zero silenced": (
        "methods/registry",
        "gated(0.0, strict=False)",
        "gated(0.0, strict=True)",
        ("test_methods.py::test_neurons_of_the_methods_on_their_grids",),
    ),
    "srp: observing for nothing": (
        "accounting",
        "(np.cumsum(synops) + observed.sum())",
        "np.cumsum(synops)",
        ("test_methods.py::test_srp_s_observing_steps_are_counted_and_paid",),
    ),
    "ecl: v(0) not set": (
        "methods/rules",
        "options.v0 * theta",
        "0.5 * theta",
        ("test_methods.py::test_ecl_is_its_parts",),
    ),
    "ecl: neg_threshold not used": (
        "methods/rules",
        "theta_neg=options.neg_threshold",
        "theta_neg=-1e-3",
        ("test_methods.py::test_ecl_is_its_parts",),
    ),
    "cos: largest of the spikes": (
        "neurons/offset",
        "(u < m_min)",
        "(u > m_min)",
        ("test_methods.py::test_cos_changes_every_wrong_count_by_exactly_one",),
    ),
    "cos: saturated moved": (
        "neurons/offset",
        "few = rested & (state.v >= theta)",
        "few = state.v >= theta",
        ("test_methods.py::test_cos_moves_by_one_spike",),
    ),
    "cos: half the bound of who is wrong": (
        "kernels/events",
        "near = (n + 1) // 2",
        "near = (n + 1) // 4",
        ("test_engine.py::test_moved_neurons_on_the_edge_of_the_bound",),
    ),
    "cos: who spiked too seldom overlooked": (
        "kernels/events",
        "every &= fired",
        "every |= fired",
        ("test_engine.py::test_cos_moves_the_same_potentials",),
    ),
    "cos: first steps of ordinary kernels not seen": (
        "engine/network",
        "            self._to_words(p, (s == sign).swapaxes(0, 1), begin)\n"
        "        self._begin(p)\n",
        "            self._to_words(p, (s == sign).swapaxes(0, 1), begin)\n",
        ("test_engine.py::test_potentials_are_moved_beside_ordinary_kernels",),
    ),
    "cos: moved potentials taken for integers": (
        "ranges",
        "if p.fed_by_image or (low < high).any():",
        "if p.fed_by_image:",
        ("test_engine.py::test_moved_potentials_may_need_more_bits_than_sums",),
    ),
    "rts: twice the shift": (
        "methods/rules",
        'p.over("theta") / (2 * T)',
        'p.over("theta") / T',
        ("test_methods.py::test_thresholds_and_starts_of_every_method",),
    ),
    "percentile: not interpolated": (
        "calibrate",
        "ranks[name] % 1",
        "0",
        ("test_methods.py::test_percentiles_are_numpy_s",),
    ),
    "snm: another threshold": (
        "methods/rules",
        'return PRESETS["snm"].neuron(theta)',
        'return PRESETS["fast-snn"].neuron(theta)',
        ("test_methods.py::test_neurons_of_the_methods_on_their_grids",),
    ),
    "gating in unevenness": (
        "analysis",
        '"unevenness": (N - n_ref) * one',
        '"unevenness": (emitted - n_ref) * one',
        ("test_methods.py::test_the_terms_are_those_of_exact_fractions",),
    ),
    "S / T first": (
        "analysis",
        "inside = inside + (rest >= np.asarray",
        "inside = inside + (rest > np.asarray",
        ("test_methods.py::test_levels_are_those_of_exact_fractions",),
    ),
    "calibration: mean of all channels": (
        "calibration/parameters",
        "sums = np.array([exact_sum(row) for row in rows], dtype=object)",
        "sums = np.array([int(rows.sum()) // len(rows) for row in rows], dtype=object)",
        ("test_calibration.py::test_every_population_is_set_by_its_rule",),
    ),
    "calibration: smaller thresholds on ties": (
        "calibration/thresholds",
        "least = max(k for k",
        "least = min(k for k",
        ("test_calibration.py::test_the_larger_threshold_wins_ties",),
    ),
    "calibration: what is settled is silent": (
        "calibration/walk",
        "words[name] = fire(chunk)",
        "words[name] = 0 * fire(chunk)",
        ("test_calibration.py::test_every_population_is_set_by_its_rule",),
    ),
    "calibration: a gradient through the clip": (
        "kernels/gradients",
        'inside = b.and_(v.compare(">=", z, least), v.compare("<=", z, top))',
        'inside = v.compare(">=", z, least)',
        ("test_calibration.py::test_the_gradient_by_hand",),
    ),
    "calibration: what the last of a tile alone sees left out": (
        "kernels/gradients",
        "for r in range(tile * PIXELS, (tile + 1) * PIXELS):",
        "for r in range(tile * PIXELS, (tile + 1) * PIXELS - 1):",
        ("test_calibration.py::test_gradients_equal_their_kernel",),
    ),
    "filter: half the bound": (
        "kernels/events",
        "tile * LANES * R, (n + 1) // 2",
        "tile * LANES * R, (n + 1) // 4",
        ("test_engine.py::test_neurons_on_the_edge_of_the_bound",),
    ),
    "filter: half the bound of a mask": (
        "kernels/events",
        "reach = (n + 1) // 2",
        "reach = (n + 1) // 4",
        ("test_engine.py::test_neurons_on_the_edge_of_the_bound",),
    ),
    "filter: terms of many bits taken for integers": (
        "ranges",
        "return all(bool((rows == np.rint(rows)).all()) for rows in scaled)",
        "return True",
        ("test_engine.py::test_neurons_on_the_edge_of_the_bound",),
    ),
    "filter: integers whose thresholds are not": (
        "engine/plan",
        "grid = chosen.q if chosen.whole else p.grid",
        "grid = p.grid",
        ("test_engine.py::test_weights_of_few_bits_need_no_filter",),
    ),
    "filter: spikes not counted": (
        "engine/network",
        "return spikes / (self.B * self.T * p.neurons)",
        "return 0.0",
        ("test_engine.py::test_spikes_choose_integers_or_float64",),
    ),
    "two thresholds: doubts of one": (
        "kernels/decisions",
        "near = b.or_(_near(v, u, theta, reach), _near(v, u, level, reach))",
        "near = _near(v, u, theta, reach)",
        ("test_intrinsics.py::test_every_operation_equals_its_definition",),
    ),
    "blocks: terms of lone spikes only": (
        "kernels/shared",
        "terms[k] = b.add(terms[k], b.sub(stop, start))",
        "terms[k] = b.add(terms[k], b.sub(stop, start)) if alone else terms[k]",
        ("test_intrinsics.py::test_every_operation_equals_its_definition",),
    ),
    "blocks: a doubt's lone spikes only": (
        "kernels/events",
        "if not pattern >> t % K & 1:",
        "if pattern != 1 << t % K:",
        ("test_engine.py::test_blocks_of_steps_change_nothing",),
    ),
    "blocks: a spike of two patterns": (
        "kernels/shared",
        "old[i] &= ~spikes[i]",
        "old[i] &= 0xFFFF",
        ("test_intrinsics.py::test_spikes_are_split_by_patterns",),
    ),
    "looked up: terms of the last row of windows": (
        "kernels/subsets",
        "bits = b.add(bits, b.ctpop(word))",
        "bits = b.add(zero, b.ctpop(word))",
        ("test_intrinsics.py::test_every_operation_equals_its_definition",),
    ),
    "looked up: windows that are no stretches": (
        "engine/seen",
        "w.stride == 0 or w.rows",
        "w.rows",
        (
            "test_engine.py::test_sums_that_are_looked_up_change_nothing"
            "[dilation beyond the map-IF]",
        ),
    ),
    "looked up: pixels that are not side by side": (
        "engine/seen",
        "return np.array_equal(inside, np.arange(len(inside)))",
        "return True",
        (
            "test_engine.py::test_sums_behind_a_pooling_that_leaves_pixels_out"
            "[columns-size0]",
        ),
    ),
    "maxima of averages": (
        "calibration/walk",
        "if q.source == INPUT or not q.maxima:",
        "if True:",
        (
            "test_calibration.py::test_weights_behind_maxima_see_the_maxima_of_every_step",
        ),
    ),
    "looked up: a doubt's first kernel row only": (
        "kernels/events",
        "word = np.int64(words[first + p * pitch + column * read + w])",
        "word = np.int64(words[first + column * read + w])",
        ("test_engine.py::test_sums_that_are_looked_up_change_nothing[same-IF]",),
    ),
    "looked up: a doubt's window at the first pixel": (
        "kernels/events",
        "begin = lane // LANES * len(window[1])  # a register is a pixel",
        "begin = 0",
        ("test_engine.py::test_doubts_of_equal_windows_of_unlike_pixels",),
    ),
    "ordered: a doubt's spikes counted once where they are pooled": (
        "kernels/doubts",
        "count[t] += tap[n, t] >> bit & 1",
        "count[t] |= tap[n, t] >> bit & 1",
        ("test_ordered.py::test_every_spike_is_that_of_the_definition",),
    ),
    "ordered: doubts of few steps alone": (
        "engine/ordered",
        'ranges_of(snn, p), T, "float64", FINE)',
        'ranges_of(snn, p), T, "float64")',
        (
            "test_ordered.py::"
            "test_it_serves_at_more_steps_than_the_engine_uses_integers_for",
        ),
    ),
    "readout bias once": (
        "run/simulation",
        "t[:, None, None] * bind",
        "np.ones_like(t)[:, None, None] * bind",
        LAWS,
    ),
    "leak forgotten": (
        "neurons/conventions",
        "bind(p.decay, v) * v + x",
        "v + x",
        ("test_conventions.py::test_conventions_by_hand",),
    ),
    "spikes listed element by element": (
        "kernels/sparse",
        "term = c * K + n * LANES",
        "term = c + n * LANES",
        ("test_twins.py::test_projections",),
    ),
    "negative spikes listed as positive": (
        "kernels/sparse",
        "(s - least) * terms",
        "(1 - least) * terms",
        ("test_twins.py::test_projections",),
    ),
    "many spikes at a strict tie": (
        "neurons/conventions",
        "np.ceil(u / theta) - 1",
        "np.floor(u / theta)",
        ("test_conventions.py::test_conventions_by_hand",),
    ),
    "layers without delay": (
        "run/simulation",
        "return np.concatenate([under_way, s[:-1]])",
        "return s",
        ("test_conventions.py::test_layer_delay_by_hand",),
    ),
    "last difference": (
        "compare/first",
        "best = min(best, place)",
        "best = max(best, place)",
        ("test_compare.py::test_the_first_difference",),
    ),
    "any explanation will do": (
        "compare/trial",
        "return total == 0",
        "return total >= 0",
        ("test_compare.py::test_what_fits_most_samples_is_no_explanation",),
    ),
    "everything is rounded": (
        "compare/explanations",
        "        if why:\n",
        "        if True:\n",
        ("test_compare.py::test_explained_up_to_rounding",),
    ),
    "the rarest explanation goes first": (
        "conformance/agreement",
        "(-counts[kind], place[kind])",
        "(counts[kind], place[kind])",
        ("test_conformance.py::test_what_explains_the_most_goes_first",),
    ),
    "every recording is late": (
        "compare/undo",
        "heard = steps == 0 or bool(kept.any())",
        "heard = True",
        ("test_compare.py::test_a_silent_recording_is_not_late",),
    ),
    "a batch is run once": (
        "conformance/judge",
        '"again": golden, ',
        "",
        ("test_conformance.py::test_wrong_adapters_are_named",),
    ),
}

FLIPS: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<=", ">=", "!="),
    ast.LtE: ("<", ">", "!="),
    ast.Gt: (">=", "<=", "!="),
    ast.GtE: (">", "<", "!="),
    ast.Eq: ("!=",),
    ast.NotEq: ("==",),
    ast.In: ("not in",),
    ast.NotIn: ("in",),
    ast.Is: ("is not",),
    ast.IsNot: ("is",),
}


def flipped_comparisons() -> Iterator[tuple[str, str]]:
    """Every comparison of the neuron models replaced, one at a time, by a wrong one."""
    source = (PACKAGE / "neurons/models.py").read_text()
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare):
            continue
        (right,) = node.comparators
        for wrong in FLIPS[type(node.ops[0])]:
            changed = list(lines)
            line = changed[node.lineno - 1]
            head, tail = line[: node.left.end_col_offset], line[right.col_offset :]
            changed[node.lineno - 1] = f"{head} {wrong} {tail}"
            yield (
                f"line {node.lineno}: {ast.unparse(node)} -> {wrong}",
                "".join(changed),
            )


def mutants() -> dict[str, tuple[str, str, tuple[str, ...]]]:
    """Module, its new text, and the tests that must fail, by name."""
    made: dict[str, tuple[str, str, tuple[str, ...]]] = {}
    for name, (module, text, replacement, tests) in MUTANTS.items():
        source = (PACKAGE / f"{module}.py").read_text()
        assert source.count(text) == 1, (
            f"{name}: {text!r} stands {source.count(text)} times"
        )
        made[name] = (module, source.replace(text, replacement), tests)
    for name, source in flipped_comparisons():
        made[name] = ("neurons/models", source, LAWS)
    return made


def survives(folder: Path, module: str, source: str, tests: tuple[str, ...]) -> str:
    """Run tests on a copy of the package with one module replaced; what they print.

    Nothing is printed for a mutant that is killed.
    """
    copy = folder / "refsnn"
    shutil.copytree(
        PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "weights")
    )
    (copy / "weights").symlink_to(datasets.weights_folder())
    (copy / f"{module}.py").write_text(source)
    compile(source, module, "exec")  # a mutant is a wrong program, not a broken one
    options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
    options += ["--assert=plain"]  # what differs in long lists takes minutes to lay out
    stacks = f"faulthandler_timeout={PATIENCE // 2}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, "-o", stacks, *tests],
            cwd=TESTS,
            env={
                **os.environ,
                "PYTHONPATH": str(folder),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired as hung:  # what it prints is bytes in any case
        said = b"".join(part or b"" for part in (hung.stdout, hung.stderr)).decode()
        warnings.warn(f"{tests} on {module} took {PATIENCE} s: {said}", stacklevel=2)
        return ""
    # a mutant that makes the tests fail to import is killed while they are collected
    killed = done.returncode in {1, 2} and re.search(r"\d+ (failed|error)", done.stdout)
    return "" if killed else done.stdout + done.stderr


@pytest.fixture(scope="module")
def verdicts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What the tests said of each selected mutant; empty if they killed it."""
    root = tmp_path_factory.mktemp("mutants")
    chosen = {
        item.callspec.params["name"]
        for item in request.session.items
        if getattr(item, "originalname", "") == test_mutant_is_killed.__name__
    }
    with ThreadPoolExecutor(min(processors(), 4)) as pool:
        answers = {
            name: pool.submit(survives, root / str(index), *mutant)
            for index, (name, mutant) in enumerate(mutants().items())
            if name in chosen
        }
        return {name: answer.result() for name, answer in answers.items()}


@pytest.mark.parametrize("name", list(mutants()))
def test_mutant_is_killed(name: str, verdicts: dict[str, str]) -> None:
    assert verdicts[name] == "", f"survivor: {name}"


def test_the_package_itself_survives(tmp_path: Path) -> None:
    module = "neurons/models"
    source = (PACKAGE / f"{module}.py").read_text()
    said = survives(tmp_path, module, source, LAWS)
    assert "passed" in said
    assert "failed" not in said


def test_there_are_enough_mutants() -> None:
    assert len(MUTANTS) >= 10
    assert len(list(flipped_comparisons())) >= 15
