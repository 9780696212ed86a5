"""The page of all reproductions, coverage of published rows, counts, energies."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import re
import shutil
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from refsnn import plotting
from refsnn.accounting import ENERGY_TABLES
from refsnn.errors import DataError
from refsnn.reproduce import (
    Run,
    declared,
    from_recorded,
    load_declaration,
    load_published,
    reproduce,
)
from refsnn.reproduce import recorded as kept
from refsnn.reproduce.claims import CLAIM_VERDICTS, decide, decided
from refsnn.reproduce.counted import agrees, count_all, judge_counts
from refsnn.reproduce.coverage import coverage
from refsnn.reproduce.declared import Counted
from refsnn.reproduce.done import Done
from refsnn.reproduce.facts import load_claims, load_tolerances
from refsnn.reproduce.operations import operations
from refsnn.reproduce.page import page
from refsnn.reproduce.terms import outside
from refsnn.reproduce.verdicts import VERDICTS
from test_report import Loads

ROOT = Path(__file__).parents[1] / "reproductions"
KNOWN = load_tolerances(ROOT)
FACTS = load_claims(ROOT)


# -- every published row and claim ---------------------------------------------------


def test_every_published_row_ends_as_a_verdict() -> None:
    rows = coverage(ROOT, [from_recorded(ROOT, name) for name in declared(ROOT)])
    published = load_published(ROOT)
    assert [row["published"] for row in rows] == [p.accuracy for p in published]
    assert {row["verdict"] for row in rows} <= set(VERDICTS)
    assert all(
        row["note"] for row in rows if row["verdict"] in {"not run", "out of scope"}
    )
    assert {
        r["verdict"]
        for r, p in zip(rows, published, strict=True)
        if p.confidence == "R"
    } == {"out of scope"}
    by_us = [row for row in rows if row["ours"] is not None]
    assert all(row["reproduction"] for row in by_us)
    assert len(by_us) >= 7
    alone = {row["verdict"] for row in coverage(ROOT, [])}  # an installed package
    assert alone == {"not run", "out of scope"}


def test_a_row_without_a_rule_is_an_error(tmp_path: Path) -> None:
    for path in ROOT.glob("*.csv"):
        shutil.copy(path, tmp_path)
    with (tmp_path / "published.csv").open("a") as file:
        file.write("New,Table 1,d,net,m,,4,50,s,V,\n")
    with pytest.raises(DataError, match="New, Table 1"):
        coverage(tmp_path, [from_recorded(ROOT, name) for name in declared(ROOT)])


def test_published_arithmetic_by_hand() -> None:
    rows = {(r["method"], r["quantity"]): r for r in operations(ROOT)}
    snn = rows["LTB", "SNN efficiency"]  # 20.86 G 77 fJ = 1.60622 mJ, 622.6 a joule
    assert (snn["verdict"], "1.606 mJ" in snn["note"]) == ("reproduced", True)
    ann = rows["ANN", "ANN efficiency"]  # 3.64 G 12.5 pJ = 45.5 mJ, 21.98 a joule
    assert (ann["verdict"], "45.5 mJ" in ann["note"]) == ("reproduced", True)
    assert rows["LM-HT", "synaptic operations"]["verdict"] == "reproduced"
    assert rows["QCFS", "energy at 73.55 %"]["verdict"] == "not run"
    assert {r["verdict"] for r in rows.values()} <= set(VERDICTS)


# -- architectures -------------------------------------------------------------------


def test_counts_beside_published_ones() -> None:
    assert agrees("21.79 M", 21_794_999)
    assert not agrees("21.79 M", 21_795_001)
    assert agrees("188416", 188_416)
    assert not agrees("188416", 188_417)
    (one,) = count_all([Counted(arch="resnet20", classes=10, size=32)])
    (row,) = judge_counts(ROOT, [one])
    assert (row["verdict"], row["neurons"]) == ("reproduced", 188_416)
    (row,) = judge_counts(ROOT, [{**one, "macs": 2 * one["macs"]}])
    assert (row["verdict"], row["note"][:11]) == ("differs", "macs differ")
    large = {"seconds": 1.0, "peak_bytes": 8 * 10**9 + 1}
    (row,) = judge_counts(ROOT, [{**one, "measured": large}])
    assert "more than 8 GB" in row["note"]
    (row,) = judge_counts(ROOT, [{**one, "classes": 11}])
    assert row["verdict"] == "nothing published"


def test_an_image_runs_in_a_process_of_its_own() -> None:
    (one,) = count_all([Counted(arch="resnet20", classes=10, size=32, T=3)])
    assert len(one["spikes"]) == 3
    assert sum(one["spikes"]) > 0
    assert 10**7 < one["measured"]["peak_bytes"] < 8 * 10**9
    answer = {"name": "a", "data": {}, "runs": [], "counted": [one]}
    other = {**one, "measured": {"seconds": 99.0, "peak_bytes": 1}}
    assert (
        kept.differences(ROOT, {"name": "a", "counted": [other]}, answer, KNOWN) == []
    )
    other = {**one, "spikes": [1, 2, 3]}
    found = kept.differences(ROOT, {"name": "a", "counted": [other]}, answer, KNOWN)
    assert len(found) == 3


# -- energies ------------------------------------------------------------------------


def done(method: str = "qcfs", **found: object) -> Done:
    counts = {"spikes": [3, 1], "negative": [0, 0], "synops": [10, 30]}
    whole = {
        "ann_correct": 4,
        "correct": [1, 4],
        "populations": {"a": counts},
        "observing": {"synops": {"a": [5]}},
        "counts": {"ann_macs": 7, "first_layer_macs": 2, "neurons": {"a": 3}},
    }
    run = Run(network="n", method=method, steps=(1, 2))
    return Done(run=run, T=2, images=5, of=5, found={**whole, **found})


def test_energies_by_hand() -> None:
    table = done().energy()["horowitz-45nm"]
    assert table["ann_pJ"] == pytest.approx(4.6 * 5 * 7)
    first = 4.6 * 5 * 2
    assert table["snn_pJ"] == pytest.approx([0.9 * 15 + first, 0.9 * 45 + first])
    # the observing step computes the first layer too
    want = [0.9 * 15 + 2 * first, 0.9 * 45 + 3 * first]
    assert table["snn_each_pJ"] == pytest.approx(want)
    assert table["ratio"] == pytest.approx([59.5 / 161, 86.5 / 161], abs=1e-6)
    assert table["crosses_at"] is None
    counts = {"ann_macs": 3, "first_layer_macs": 2, "neurons": {"a": 3}}
    tables = done(counts=counts).energy()  # 69 pJ of the trained network
    assert tables["horowitz-45nm"]["crosses_at"] == 2
    assert tables["loihi"]["ann_pJ"] is None
    assert "ratio" not in tables["loihi"]
    assert list(tables) == list(ENERGY_TABLES)
    assert done(counts=None).energy() == {}


def test_energies_of_layers_add_up() -> None:
    one = {"spikes": [3, 1], "negative": [0, 0], "synops": [10, 30]}
    two = {"spikes": [1, 1], "negative": [0, 1], "synops": [4, 0]}
    run = done(
        populations={"a": one, "b": two},
        observing={"synops": {"a": [5], "b": [1]}},
        counts={"ann_macs": 7, "first_layer_macs": 2, "neurons": {"a": 3, "b": 4}},
    )
    split, whole = run.energy_by_layer(), run.energy()
    assert split["a"]["horowitz-45nm"] == pytest.approx(0.9 * 45)
    assert split["b"]["horowitz-45nm"] == pytest.approx(0.9 * 5)
    assert split[""]["horowitz-45nm"] == pytest.approx(4.6 * 5 * 2)
    for name in ENERGY_TABLES:
        spent = sum(layer[name] for layer in split.values())
        assert spent == pytest.approx(whole[name]["snn_pJ"][-1])
    assert done(counts=None).energy_by_layer() == {}


# -- claims --------------------------------------------------------------------------


def terms(T: int = 4, target: str = "own", **sizes: int) -> dict:
    names = ("clipping", "quantisation", "unevenness", "gating", "flooring")
    absolute = dict.fromkeys(names, 0)
    one = {
        "absolute": {**absolute, **sizes},
        "cases": dict.fromkeys("ABCDE", 0),
        "condition": {"below": 0, "exceptions": 0},
        "neurons": 8,
    }
    return {"T": T, "target": target, "grid": 1, "populations": {"p": one}}


def made(method: str, network: str = "n", T: int = 4, **more: object) -> Done:
    options = more.pop("options", {})
    d = done(method, correct=[9] * 40, **more)
    run = Run(network=network, method=method, steps=(T,), options=options)
    return dataclasses.replace(d, run=run, T=T, images=10, of=10)


def verdict(claim: str, *runs: Done) -> str:
    (answer,) = decide([claim], runs, FACTS, KNOWN)
    assert answer.verdict in CLAIM_VERDICTS
    return answer.verdict


def ecl(size: int, term: str, target: str = "own", **options: object) -> Done:
    return made("ecl", options=options, errors=[terms(target=target, **{term: size})])


def test_claims_of_ecl_turn_with_their_terms() -> None:
    reached, not_so = "reached by a reconstruction", "does not hold"
    for name, term, option, target in (
        ("ECL-2", "clipping", {"clip": False}, "relu"),
        ("ECL-3", "quantisation", {"dual": False}, "own"),
    ):
        without = ecl(100, term, target, **option)
        assert verdict(name, ecl(95, term, target), without) == reached
        assert verdict(name, ecl(96, term, target), without) == not_so
        nothing = ecl(0, term, target), ecl(0, term, target, **option)
        same = "not run" if name == "ECL-2" else not_so  # the same network twice
        assert verdict(name, *nothing) == same
        assert verdict(name, ecl(3, term, target)) == "not run"
    sweep = [ecl(4, "unevenness", v0=v0) for v0 in (0.0, 0.25, 0.75, 1.0)]
    assert verdict("ECL-4", ecl(3, "unevenness"), *sweep) == reached
    assert verdict("ECL-4", ecl(5, "unevenness"), *sweep) == not_so
    assert verdict("ECL-4", ecl(3, "unevenness"), sweep[0]) == "not run"
    small = made("ecl", "resnet18_cifar10_clip", images=10)
    assert verdict("ECL-1", small) == reached  # 90 % of 10 images
    assert verdict("ECL-1", made("ecl", "resnet20")) == "not run"


@pytest.mark.parametrize(
    ("spikes", "cases", "bounds", "want"),
    [
        (7, {"A": 3, "C": 1}, (0, 3), "holds"),  # up to 3 others, off by one
        (4, {"A": 3, "C": 1}, (0, 0), "holds"),
        (16, {"B": 4}, (0, 12), "holds"),  # T = 4: all four may be off by four
        (17, {"B": 4}, (1, 13), "does not hold"),
        (21, {"B": 4}, (2, 17), "does not hold"),
        (7, {"A": 3, "E": 1}, (1, 4), "does not hold"),
        (25, {"A": 4, "E": 1}, (2, 21), "does not hold"),  # 16 and 8 spikes, and one
        (3, {"A": 3, "C": 1}, (0, -1), "does not hold"),  # a case without unevenness
    ],
)
def test_srp_s_four_categories_are_counted(spikes, cases, bounds, want) -> None:
    found = terms(unevenness=2 * spikes)  # in halves of a spike
    found["populations"]["p"]["cases"].update(cases)
    assert outside(found["populations"]["p"], 4, 1) == bounds
    (answer,) = decide(["SRP-1"], [made("qcfs", errors=[found])], FACTS, KNOWN)
    assert answer.verdict == want
    assert f"{bounds[0]} to {bounds[1]} neurons are in none" in answer.evidence
    assert f"N < 0 at {cases.get('E', 0)} neurons" in answer.evidence


def test_every_claim_that_can_be_decided_is_asked_for() -> None:
    asked = {c for name in declared(ROOT) for c in load_declaration(ROOT, name).claims}
    assert asked == set(decided())
    claims = {c["id"]: c for c in from_recorded(ROOT, "calibration_cifar10")["claims"]}
    assert (claims["CAL-1"]["verdict"], claims["CAL-5"]["verdict"]) == ("not run",) * 2
    there = "here with them: resnet20_cifar10_pretrained (T = 8), "
    assert there in claims["CAL-1"]["evidence"]
    assert claims["CAL-1"]["evidence"].endswith("; without: none")


def test_srp_s_condition_is_tested_on_every_neuron() -> None:
    good = terms()
    assert verdict("SRP-3", made("qcfs", errors=[good])) == "holds"
    bad = json.loads(json.dumps(good))
    bad["populations"]["p"]["condition"]["exceptions"] = 1
    assert verdict("SRP-3", made("qcfs", errors=[bad])) == "does not hold"
    assert verdict("SRP-3", made("qcfs")) == "not run"


def test_claims_of_calibration() -> None:
    light, best = made("calib-light", T=32), made("calib-advanced", T=32)
    assert verdict("CAL-4", light, best) == "holds"  # 9 of 10, the trained network 4
    bad = made("calib-advanced", T=32)
    bad = dataclasses.replace(
        bad, found={**bad.found, "ann_correct": 10, "correct": [2] * 40}
    )
    assert verdict("CAL-4", light, bad) == "does not hold"
    assert verdict("CAL-4", light) == "not run"
    assert verdict("CAL-2", made("calib-light", errors=[terms(clipping=3)])) == "holds"
    uneven = made("calib-light", errors=[terms(unevenness=1)])
    assert verdict("CAL-2", uneven) == "does not hold"  # where input is even
    moved = made("calib-potential", errors=[terms(unevenness=1)])
    assert verdict("CAL-2", moved) == "not run"
    assert verdict("CAL-2", moved, made("calib-none", errors=[terms()])) == "holds"
    later = terms()
    later["populations"]["a"] = terms(unevenness=1)["populations"]["p"]
    (answer,) = decide(["CAL-2"], [made("calib-light", errors=[later])], FACTS, KNOWN)
    assert answer.verdict == "holds"
    assert "in p clipping 0.0000" in answer.evidence
    assert "left over 0.0000; in all populations left over 0.0312" in answer.evidence
    passed = {"T": 8, "images": 2, "measured": 2.0, "first": 0.1, "bound": 9.0}
    for second, want in (
        (1.0, "holds"),
        (0.9, "does not hold"),
        (4.1, "does not hold"),
    ):
        run = made("calib-light", propagation=[{**passed, "second": second}])
        assert verdict("CAL-3", run) == want
    loose = made("calib-light", propagation=[{**passed, "second": 2.0, "bound": 1.0}])
    assert verdict("CAL-3", loose) == "does not hold"

    def normed(count: int, correct: int) -> Done:
        counts = {"batch_norms": count}
        d = made("calib-none", f"n{count}", T=8, counts=counts)
        return dataclasses.replace(
            d, found={**d.found, "correct": [correct] * 8, "ann_correct": 9}
        )

    assert verdict("CAL-1", normed(3, 2), normed(0, 8)) == "holds"
    assert verdict("CAL-1", normed(3, 8), normed(0, 8)) == "does not hold"
    assert verdict("CAL-1", normed(3, 2)) == "not run"
    gained = (
        made("calib-advanced", "vgg16_x", T=16),
        made("calib-none", "vgg16_x", T=16),
    )
    assert verdict("CAL-5", *gained) == "does not hold"
    assert verdict("CAL-5", gained[0]) == "not run"


# -- the page ------------------------------------------------------------------------


def test_figures_draw_their_numbers() -> None:
    ours = {"a": ([1, 2], [50.0, 60.0]), "b": ([4], [70.0])}
    figure = plotting.beside_published(ours, {"a": ([2], [65.0])}, 80.0)
    (axes,) = figure.axes
    drawn = [line.get_xydata().tolist() for line in axes.lines[1:]]
    assert drawn == [[[1, 50], [2, 60]], [[2, 65]], [[4, 70]]]
    assert set(axes.lines[0].get_ydata()) == {80}
    assert axes.lines[1].get_color() == axes.lines[2].get_color()
    (axes,) = plotting.parts_of({"a": {"x": 1.0, "y": 2.0}, "b": {"y": 3.0}}, "u").axes
    assert [bar.get_width() for bar in axes.patches] == [1, 0, 2, 3]
    assert [bar.get_x() for bar in axes.patches] == [0, 0, 1, 0]
    figure = plotting.energy_against_accuracy(ours, (9.0, 80.0), "t")
    (axes,) = figure.axes
    assert axes.lines[-1].get_xydata().tolist() == [[9, 80]]
    assert axes.get_xlabel() == "energy of an image, µJ (t)"


@pytest.fixture(scope="module")
def html() -> str:
    return page(ROOT, [from_recorded(ROOT, "digits")])


def test_the_page_has_everything_and_loads_nothing(html: str) -> None:
    loads = Loads()
    loads.feed(html)
    assert loads.found == []
    assert "url(http" not in html
    assert plotting.INK not in html
    assert all(f"<b>{claim}</b>" in html for claim in FACTS)
    assert html.count('<span class="verdict') > 291
    figures = [part.split("</svg>")[0] for part in html.split("<svg")[1:]]
    assert len(figures) == 3 * 5  # of three networks
    for figure in figures:
        ET.fromstring(f"<svg{figure}</svg>")
    for name in ENERGY_TABLES:
        assert f"<b>{name}</b>" in html
    assert "622" in html


def test_a_conversion_for_one_t_shows_that_t_alone(html: str) -> None:
    """The first steps of a network made for T = 32 are no results for T = 8."""
    every = [block.split("</h3>") for block in html.split("<h3>")[1:]]
    blocks = [block for block in every if ", target " not in block[0]]
    assert len(every) > len(blocks)  # unevenness cases
    titles = [title for title, _ in blocks]
    assert set(Counter(titles).values()) == {2}  # energies, layers
    seen: dict[str, list[list[int]]] = {}
    for title, block in blocks:
        table = block.split("</table>")[0]
        steps = re.findall(r"<td>T = (\d+)</td>|<th>spikes, (\d+)</th>", table)
        seen.setdefault(title, []).append([int(a or b) for a, b in steps])
    for T in (8, 32):
        for method in ("rts", "calib-none", "calib-light", "calib-potential"):
            assert seen[f"{method} at T = {T} on digits_relu"] == [[T], [T]]
    assert seen["max-norm on digits_relu"] == [[1, 2, 4, 8, 16, 32]] * 2
    for title, block in blocks[: len(blocks) // 2]:
        of_one = " at T = " in title
        assert (" up to T = " in block or " reaches 1 at T" in block) is not of_one
        assert ("below 1 at T = " in block or "1 or more at T = " in block) is of_one


def test_seconds_are_shown_where_they_are_known(html: str) -> None:
    head = "<th>converted, s</th><th>all images run, s</th>"
    answer = {**from_recorded(ROOT, "digits"), "took": []}
    assert head not in page(ROOT, [answer])
    run = next(r for r in answer["runs"] if (r["method"], r["T"]) == ("rts", 32))
    seconds = {"convert_seconds": 12.34, "run_seconds": 1234.56}
    got = page(ROOT, [{**answer, "took": [{**run, **seconds}]}])
    assert got.count(head) == 1
    rows = re.findall(r"<tr><td>(.*)</td><td>(.*)</td><td>(.*)</td></tr>", got)
    shown = {row[0].split("<")[0]: row[1:] for row in rows if " on digits_" in row[0]}
    assert shown.pop("rts at T = 32 on digits_relu") == ("12.3", "1234.6")
    assert set(shown.values()) == {("", "")}
    assert len(shown) == len(answer["runs"]) - 1


def test_energies_of_a_conversion_for_one_t_cross_there_or_not_at_all() -> None:
    counts = {"ann_macs": 3, "first_layer_macs": 2, "neurons": {"a": 3}}
    early = {"spikes": [3, 1], "negative": [0, 0], "synops": [90, 0]}
    for macs, at in ((3, 1), (300, None)):
        of = {"counts": {**counts, "ann_macs": macs}, "populations": {"a": early}}
        assert done(**of).energy()["horowitz-45nm"]["crosses_at"] == at
        late = done("rts", **of)  # for T = 2 alone: over at t = 1, so at T too
        assert late.energy()["horowitz-45nm"]["crosses_at"] == (at and 2)
        assert (done(**of).answered, late.answered) == ((1, 2), (2,))


def test_texts_of_files_are_escaped(tmp_path: Path) -> None:
    for path in (*ROOT.glob("*.csv"), *ROOT.glob("*.json"), ROOT / "digits.py"):
        shutil.copy(path, tmp_path)
    with (tmp_path / "claims.csv").open() as file:
        rows = list(csv.reader(file))
    rows[1][2] = "<script>alert(1)</script>"
    with (tmp_path / "claims.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    rules = (tmp_path / "left_out.csv").read_text()
    (tmp_path / "left_out.csv").write_text(f"{rules},,,,,,out of scope,all others\n")
    shutil.copytree(ROOT / "recorded", tmp_path / "recorded")
    got = page(tmp_path, [from_recorded(tmp_path, "digits")])
    assert "<script>" not in got
    assert "&lt;script&gt;" in got


def test_on_the_command_line(tmp_path: Path, refsnn) -> None:
    folder = tmp_path / "report"
    common = ("reproduce", "digits", "--root", str(ROOT))
    given = (*common, "--from-recorded")
    code, out, _ = refsnn(*given, "--report", str(folder))
    assert (code, "SRP-2 holds" in out) == (0, True)
    assert sorted(p.name for p in folder.iterdir()) == ["report.html", "result.json"]
    (folder / "report.html").write_text("<p>my page</p>")
    assert refsnn(*given, "--report", str(folder)).code == 2
    assert refsnn(*given, "--check").code == 2
    assert refsnn(*given, "--limit", "3").code == 2
    assert refsnn("reproduce", "--root", str(ROOT), "--report", str(folder)).code == 2
    assert refsnn("reproduce", "--root", str(ROOT), "--limit", "3").code == 2
    code, out, err = refsnn("reproduce", "--root", str(tmp_path), "--from-recorded")
    assert (code, out, "--root" in err) == (2, "", True)
    code, out, _ = refsnn("reproduce", "--root", str(ROOT), "--json", "-")
    assert json.loads(out)["declarations"]["digits"]["data"] == "digits"
    # what cannot be is said before the first is run
    for more in (("nothing",), ("energy", "--only", "digits_qcfs/*")):
        assert refsnn(*common, *more, "--out", str(tmp_path / "o")).code == 2
        assert not (tmp_path / "o").exists()
    code, out, _ = refsnn("reproduce", "--root", str(ROOT), "--from-recorded")
    assert code == 0
    assert "ECL on CIFAR-10, ResNet-18" in out
    assert "resnet34, 1000 classes, 224 x 224" in out


# -- a slice of real data ------------------------------------------------------------


@pytest.mark.skipif("REFSNN_DATA" not in os.environ, reason="CIFAR-10 (REFSNN_DATA)")
def test_200_cifar_images_equal_what_was_recorded(tmp_path: Path) -> None:
    answer = reproduce(ROOT, "slice_cifar10", tmp_path)
    want = kept.load(ROOT, "slice_cifar10")
    assert answer["data"]["images"] == 200
    assert len(answer["runs"]) == 3
    assert kept.differences(ROOT, want, answer, KNOWN) == []
    assert kept.unrecorded(want, answer) == []
    want["runs"][2]["populations"]["conv1.2"]["spikes"][0] += 1
    assert len(kept.differences(ROOT, want, answer, KNOWN)) == 1
    assert np.all(np.array(answer["runs"][0]["correct"]) <= 200)
