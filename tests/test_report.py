"""Figures and pages: what is drawn is what was counted."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from refsnn import datasets, io, plotting, report
from refsnn.convert import convert
from refsnn.evaluate import evaluate, result
from refsnn.run import run_snn

T = 8


@pytest.fixture(scope="module")
def made() -> tuple[Any, Any, dict[str, Any]]:
    ann = io.load_ann(datasets.weights_folder() / "digits_qcfs.h5")
    data = datasets.load("digits", "test").head(30)
    snn = convert(ann, "qcfs")
    tally = evaluate(snn, data, T, ann=ann)
    answer = result(snn, data, tally, sha256="0" * 64, seconds=1.0, ann=ann)
    return snn, data, answer


def test_accuracy_is_drawn_at_every_t(made: Any) -> None:
    *_, answer = made
    (axes,) = plotting.accuracy(answer).axes
    line, ann = axes.lines
    assert line.get_xdata().tolist() == list(range(1, T + 1))
    want = np.array(answer["snn"]["correct"]) / 30
    assert (line.get_ydata() == want).all()
    assert set(ann.get_ydata()) == {answer["ann"]["correct"] / 30}


def test_rates_are_spikes_a_neuron_and_step(made: Any) -> None:
    *_, answer = made
    (axes,) = plotting.spike_rates(answer).axes
    populations = answer["snn"]["populations"].values()
    want = [sum(p["spikes"]) / (p["neurons"] * 30 * T) for p in populations]
    assert [bar.get_width() for bar in axes.patches] == want


def test_energy_is_drawn_as_a_share(made: Any) -> None:
    *_, answer = made
    (axes,) = plotting.operations(answer, [1, 8]).axes
    table = answer["energy"]["horowitz-45nm"]
    want = [table["snn_pJ"][t - 1] / table["ann_pJ"] for t in (1, 8)]
    assert list(axes.lines[0].get_ydata()) == want
    assert len(axes.lines) == 3  # two tables, and 1; Loihi runs no ANN


def test_observation_is_that_of_the_run(made: Any) -> None:
    snn, data, _ = made
    seen = report.observe(snn, data, T)
    trains, potentials = {}, {}

    def watch(population: Any, start: int, x: Any, s: Any, state: Any) -> None:
        trains[population.name] = s[:, 0].reshape(T, -1)
        potentials[population.name] = state.v

    run_snn(snn, snn.preprocess(data.images[:4]), T, observe=watch)
    assert seen.images == 4
    assert list(seen.trains) == list(seen.potentials) == [p.name for p in snn.hidden]
    assert any(s.any() for s in seen.trains.values())
    for name, s in seen.trains.items():
        n = trains[name].shape[1]
        chosen = np.linspace(0, n - 1, min(n, report.NEURONS)).round().astype(int)
        assert (s == trains[name][:, chosen]).all()
    for name, v in seen.potentials.items():
        assert (v == potentials[name]).all()


def test_raster_and_membranes_draw_what_they_are_given() -> None:
    s = np.zeros((5, 3), dtype=np.int8)
    s[2, 1], s[4, 0] = 2, -1  # two spikes of one step
    (axes,) = plotting.raster({"a": s}).axes
    positive, negative = axes.lines
    assert positive.get_xydata().tolist() == [[3, 1]]
    assert negative.get_xydata().tolist() == [[5, 0]]
    (axes,) = plotting.membranes({"a": np.array([-9.0, 0.05, 0.05, 7.0])}).axes
    heights = axes.patches[-1].get_data().values
    assert (heights[0], heights[20], heights[-1]) == (0.25, 0.5, 0.25)
    assert heights.sum() == 1


def test_every_population_is_in_the_legend() -> None:
    names = ["_hidden", "b", "__c"]
    (axes,) = plotting.membranes({name: np.zeros(4) for name in names}).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == names


def test_every_layer_that_trains_is_in_the_legend() -> None:
    losses = {"_hidden": [2.0, 1.0], "silent": [0.0, 0.0]}
    figure = plotting.training_losses(losses)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(losses)
    drawn = [line.get_ydata().tolist() for line in figure.axes[0].lines]
    assert drawn == [[1.0, 0.5], [0.0, 0.0]]


def test_figures_of_calibration_draw_their_numbers() -> None:
    some = {
        "before": {"populations": {"a": {"gap": 0.5}, "b": {"gap": 1.0}}},
        "after": {"populations": {"a": {"gap": 0.25}, "b": {"gap": 0.5}}},
    }
    (axes,) = plotting.activation_mismatch(some).axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[0.5, 1], [0.25, 0.5]]
    passed = {"bound": 3.0, "together": 0.5, "measured": -0.25}
    (axes,) = plotting.loss_bound({"populations": {"a": passed, "b": passed}}).axes
    drawn = {line.get_label(): line.get_ydata().tolist() for line in axes.lines}
    assert drawn == {
        "bound": [3, 6],
        "second order": [0.5, 0.5],
        "measured, size": [0.25, 0.25],
    }
    (axes,) = plotting.training_losses({"a": [4.0, 2.0], "b": [1.0] * 100}).axes
    assert axes.lines[0].get_xydata().tolist() == [[0.5, 1], [1.5, 0.5]]
    assert axes.lines[1].get_xdata().tolist() == [2 * i + 1 for i in range(50)]


class Loads(HTMLParser):
    """Collects whatever a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "link", "img", "iframe", "object", "embed"}:
            self.found.append(tag)
        for name, value in attrs:
            outside = name in {"src", "href", "xlink:href"}
            if name.startswith("on") or (outside and not str(value).startswith("#")):
                self.found.append(f"{tag}@{name}={value}")


def test_page_stands_alone_and_escapes(made: Any) -> None:
    snn, data, answer = made
    hostile = "<script>alert(1)</script>"
    answer = {**answer, "network": {"name": hostile, "sha256": "0" * 64}}
    html = report.page(answer, report.observe(snn, data, T), [1, 8])
    loads = Loads()
    loads.feed(html)
    assert loads.found == []
    assert "url(http" not in html
    assert hostile not in html
    assert "&lt;script&gt;" in html
    assert plotting.INK not in html
    figures = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    assert len(figures) == 5
    for figure in figures:
        ET.fromstring(figure)
    assert f"{answer['ann']['correct'] / 30:.2%}".replace("%", " %") in html


def test_page_of_an_unnamed_method_one_step_and_no_neurons(made: Any) -> None:
    _, _, answer = made
    short = {**answer["snn"], "correct": answer["snn"]["correct"][:1]}
    answer = {**answer, "method": "", "T": 1, "snn": {**short, "populations": {}}}
    nothing = report.Observation(images=4, trains={}, potentials={})
    html = report.page(answer, nothing, [1])
    assert html.count("<svg") == 3
    assert "Source:" not in html


def test_equal_figures_are_equal_bytes(made: Any) -> None:
    *_, answer = made
    figure = plotting.accuracy(answer)
    assert isinstance(figure, Figure)
    assert plotting.svg(figure) == plotting.svg(plotting.accuracy(answer))


def test_reports_from_the_command_line(tmp_path: Path, refsnn) -> None:
    file = str(datasets.weights_folder() / "digits_clip.h5")
    fast = ("--set", "samples=64", "-m", "max-norm", "-T", "3", "--limit", "9")
    folder = tmp_path / "deep" / "report"
    for _ in range(2):  # a report is replaced by a newer one
        assert refsnn("run", file, *fast, "--report", str(folder)).code == 0
    assert sorted(p.name for p in folder.iterdir()) == ["report.html", "result.json"]
    assert json.loads((folder / "result.json").read_text())["T"] == 3
    assert (
        refsnn("run", "no.h5", "-T", "1", "--report", str(tmp_path / "a" / "b")).code
        == 2
    )
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    inside = str(tmp_path / "file" / "report")
    assert refsnn("run", file, *fast, "--report", inside).code == 2
    (folder / "report.html").write_text("<p>my page</p>")
    code, _, err = refsnn("run", file, *fast, "--report", str(folder))
    assert (code, "no report of refsnn" in err) == (2, True)
    assert (folder / "report.html").read_text() == "<p>my page</p>"
    (tmp_path / "file").write_text("")
    assert refsnn("demo", "--out", str(tmp_path / "file")).code == 2
