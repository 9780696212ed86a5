"""The command line: what it prints, its exit codes, its JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import html
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from nets import ACTIVATIONS, random_net
from refsnn import architectures, datasets, io
from refsnn.accounting import ENERGY_TABLES
from refsnn.calibration import weights
from refsnn.cli import common
from refsnn.conformance import stored
from refsnn.convert import METHODS, convert
from refsnn.fixed import Fixed
from refsnn.profile import REFSNN, Profile
from refsnn.recording import spikes_of
from refsnn.run import run_ann, run_snn

WEIGHTS = datasets.weights_folder()
QCFS = str(WEIGHTS / "digits_qcfs.h5")
RELU = str(WEIGHTS / "digits_relu.h5")
VECTOR = stored.FOLDER / "tie.h5"
FEW = ("-T", "4", "--limit", "30")


def untimed(text: str) -> dict:
    """A result without what may differ between equal runs."""
    result = json.loads(text)
    for key in ("seconds", "versions", "impl", "schedule"):
        del result[key]
    return result


def test_demo_prints_accuracy_spikes_operations_and_energy(refsnn) -> None:
    said = refsnn("demo")
    assert said.code == 0
    assert said.err == ""
    assert "ANN              448   99.56 %" in said.out
    for T in (1, 2, 4, 8, 16, 32):
        assert f"SNN, T = {T} " in said.out
    for word in ("act1", "act4", "total", *ENERGY_TABLES):
        assert word in said.out
    tables = [line for line in said.out.splitlines() if not line.startswith("  ")]
    assert max(map(len, tables)) <= 80


@pytest.mark.parametrize("name", METHODS)
def test_methods_says_what_every_option_means(refsnn, name: str) -> None:
    said = refsnn("methods", name)
    assert said.code == 0
    assert said.out.startswith(name)
    assert METHODS[name].citation in said.out
    assert METHODS[name].reconstruction in said.out
    answer = json.loads(refsnn("methods", name, "--json", "-").out)
    (about,) = answer["methods"].values()
    fields = dataclasses.fields(METHODS[name].options)
    assert {f.name: f.default for f in fields} == {
        key: option["default"] for key, option in about["options"].items()
    }
    for key, option in about["options"].items():
        assert f"--set {key}={option['default']}\n    {option['meaning']}\n" in said.out
        assert "`" not in option["meaning"]


def test_methods_lists_all(refsnn) -> None:
    said = refsnn("methods")
    lines = [line for line in said.out.splitlines() if not line.startswith(" ")]
    assert [line.partition(":")[0].partition(",")[0] for line in lines[:-2]] == [
        *METHODS
    ]
    assert "    --set tau=4\n" in said.out


def test_a_result_has_the_documented_shape(refsnn) -> None:
    result = json.loads(
        refsnn("run", QCFS, "--method", "qcfs", *FEW, "--json", "-").out
    )
    assert list(result) == [
        *("format", "version", "network", "data", "method", "set", "profile", "T"),
        *("converted_for", "images", "mode", "carrier", "certificate", "ann", "snn"),
        *("energy", "digest", "impl", "schedule", "versions", "seconds"),
    ]
    assert (result["format"], result["version"]) == ("refsnn-result", 1)
    happened = {key: result[key] for key in ("data", "T", "snn")}
    text = json.dumps(happened, sort_keys=True, separators=(",", ":"))
    assert result["digest"] == hashlib.sha256(text.encode()).hexdigest()
    ann = io.load_ann(QCFS)
    assert result["network"] == {"name": ann.name, "sha256": io.content_sha256(ann)}
    test = datasets.load("digits", "test")
    assert result["data"] == {
        "name": "digits",
        "sha256": test.sha256,
        "indices": list(range(30)),
    }
    assert (result["method"], result["set"]) == ("qcfs", {})
    assert (result["T"], result["images"], result["mode"]) == (4, 30, "exact")
    assert result["carrier"] == "float64"
    assert 24 < result["certificate"] <= 53
    logits = run_ann(ann, ann.preprocess(test.images[:30]))
    correct = int((logits.argmax(axis=1) == test.labels[:30]).sum())
    assert result["ann"] == {"correct": correct, "macs": 30 * ann.macs()}
    snn = result["snn"]
    assert len(snn["correct"]) == 4
    converted = convert(ann, "qcfs")
    x = converted.preprocess(test.images[:30])
    predicted = run_snn(converted, x, 4).logits.argmax(axis=-1)
    assert snn["predictions"] == predicted[-1].tolist()
    digest = hashlib.sha256(predicted.astype("<i4").tobytes()).hexdigest()
    assert snn["predictions_sha256"] == digest
    assert result["profile"] == dataclasses.asdict(REFSNN)
    assert snn["first_layer_macs"] == 30 * 16 * 9 * 64
    assert list(snn["populations"]) == ["act1", "act2", "act3", "act4"]
    for counts in snn["populations"].values():
        assert list(counts) == ["neurons", "spikes", "negative", "synops"]
        for kind in ("spikes", "negative", "synops"):
            assert len(counts[kind]) == 4
            assert all(type(value) is int for value in counts[kind])
    assert (result["impl"], result["schedule"]) == ("kernel", "layer")


def test_energy_is_counts_times_tables(refsnn) -> None:
    result = json.loads(refsnn("run", QCFS, "-m", "qcfs", *FEW, "--json", "-").out)
    populations = result["snn"]["populations"].values()
    synops = np.sum([counts["synops"] for counts in populations], axis=0)
    first, macs = result["snn"]["first_layer_macs"], result["ann"]["macs"]
    neurons = sum(counts["neurons"] for counts in populations) * 30
    assert set(result["energy"]) == {"horowitz-45nm", "sop-77fj", "loihi"}
    for t in range(1, 5):
        done = int(synops[:t].sum())
        want = {
            "horowitz-45nm": 0.9 * done + 4.6 * first,
            "sop-77fj": 0.077 * done + 12.5 * first,
            "loihi": 23.6 * done + 81 * neurons * t + 23.6 * first,
        }
        for table, energy in want.items():
            got = result["energy"][table]["snn_pJ"][t - 1]
            assert got == pytest.approx(energy, rel=1e-14)
    assert result["energy"]["horowitz-45nm"]["ann_pJ"] == 4.6 * macs
    assert result["energy"]["sop-77fj"]["ann_pJ"] == 12.5 * macs
    assert result["energy"]["loihi"]["ann_pJ"] is None


@pytest.mark.parametrize(
    "choice",
    [
        (),
        ("--impl", "definition"),
        ("--schedule", "step"),
        ("--batch", "1", "--threads", "1"),
        ("--batch", "7", "--threads", "3"),
        ("--mode", "exact"),
        ("--carrier", "float64"),
        ("--data", "digits"),
    ],
)
def test_no_choice_changes_a_result(refsnn, choice: tuple[str, ...]) -> None:
    command = ("run", RELU, "--method", "max-norm", "--set", "samples=40", *FEW)
    want = refsnn(*command, "--json", "-")
    got = refsnn(*command, *choice, "--json", "-")
    assert got.code == 0, got.err
    assert untimed(got.out) == untimed(want.out)


def test_weights_of_few_bits_are_certified(refsnn, tmp_path: Path) -> None:
    net = tmp_path / "net.h5"
    how = ("-m", "qcfs", "-T", "8", "--weight-bits", "8", "-o", net)
    said = refsnn("convert", QCFS, *how, "--snap", "int32")
    assert said.code == 0, said.err
    assert "Changes by rounding" in said.out
    snn = io.load_snn(net)
    assert (snn.name, snn.mode) == ("digits_qcfs-w8-i32", "exact")
    result = json.loads(refsnn("run", net, *FEW, "--json", "-").out)
    assert result["versions"]["engine"]["name"] == "event"
    for more, expected in (
        (("--snap", "none"), "another --snap"),
        (("--weight-bits", "1"), "for '--weight-bits'"),
    ):
        said = refsnn("convert", QCFS, *how, "--force", *more)
        assert (said.code, expected in said.err) == (2, True)
    how = ("-m", "qcfs", "--weight-bits", "8", "-o", tmp_path / "other.h5")
    said = refsnn("convert", QCFS, *how)
    assert (said.code, "--weight-bits: got no -T" in said.err) == (2, True)


def test_a_network_for_one_t_is_shown_at_that_t(refsnn, tmp_path: Path) -> None:
    """Its answers at earlier steps are no results of the method at those T."""
    command = ("run", RELU, "-m", "rts", "--set", "samples=40", "-T", "8")
    said = refsnn(*command, "--limit", "20", "--report", tmp_path / "page")
    assert re.findall(r"SNN, T = (\d+)", said.out) == ["8", "8"]  # accuracy and energy
    assert "rts converts for one T" in said.out
    page = (tmp_path / "page" / "report.html").read_text()
    assert re.findall(r"<td>T = (\d+)</td>", page) == ["8", "8"]
    assert "The network was converted for T = 8." in page
    assert json.loads((tmp_path / "page" / "result.json").read_text())[
        "converted_for"
    ] == (8)


def test_options_other_than_the_methods_are_told(refsnn, tmp_path: Path) -> None:
    page = tmp_path / "page"
    run = ("run", QCFS, *FEW, "--method")
    said = refsnn(*run, "ecl", "--set", "dual=false", "--report", page).out
    assert "  By default: theta = trained clip, dual-threshold neurons" in said
    written = (page / "report.html").read_text()
    for line in (said, written):
        assert "Options: " in line
        assert "dual=False" in line
    assert "By default" in written
    assert "By default" not in refsnn(*run, "ecl").out


def test_observing_steps_are_told_on_the_page_too(refsnn, tmp_path: Path) -> None:
    page = tmp_path / "page"
    command = ("run", QCFS, "-m", "srp", "--set", "tau=3", *FEW, "--report", page)
    said = refsnn(*command).out
    written = (page / "report.html").read_text()
    for text in (said, written):
        assert text.count("T = 2, tau + T = 5") == 2  # accuracy and energy
        assert "bserving steps, tau = 3: " in text


def test_other_conventions_are_told(refsnn, tmp_path: Path) -> None:
    snn = convert(io.load_ann(QCFS), "ecl")
    other = dataclasses.replace(snn, profile=Profile(reset="to-zero", tie=">"))
    file, page = tmp_path / "hard.h5", tmp_path / "page"
    io.save(other, file)
    line = "Conventions other than refsnn's own: reset=to-zero, tie=>"
    command = ("run", file, *FEW, "--json", tmp_path / "r.json", "--report", page)
    assert f"  {line}\n" in refsnn(*command).out
    assert json.loads((tmp_path / "r.json").read_text())["profile"] == (
        dataclasses.asdict(other.profile)
    )
    assert html.escape(line, quote=False).replace("'", "&#39;") in (
        (page / "report.html").read_text()
    )
    about = refsnn("info", file).out
    assert "  reset: to-zero\n" in about
    assert "DualThresholdIF(theta_neg=-0.0005, strict=False, guard=True)" in about


def test_the_ordered_mode_gives_the_same_integers(refsnn) -> None:
    command = ("run", RELU, "--method", "max-norm", *FEW, "--json", "-")
    exact = json.loads(refsnn(*command).out)
    ordered = json.loads(refsnn(*command, "--mode", "ordered").out)
    assert (ordered["mode"], ordered["certificate"]) == ("ordered", None)
    assert ordered["snn"] == exact["snn"]
    assert ordered["digest"] == exact["digest"]


def test_converting_first_gives_the_same_run(refsnn, tmp_path: Path) -> None:
    out = tmp_path / "net.h5"
    said = refsnn("convert", RELU, "-m", "max-norm", "-T", "8", "-o", out)
    assert said.code == 0, said.err
    assert str(out) in said.out
    straight = untimed(refsnn("run", RELU, "-m", "max-norm", *FEW, "--json", "-").out)
    stored = untimed(refsnn("run", out, *FEW, "--ann", RELU, "--json", "-").out)
    digest = io.content_sha256(io.load_snn(out))
    assert stored.pop("network") == {"name": "digits_relu", "sha256": digest}
    del straight["network"]
    assert stored == straight
    alone = json.loads(refsnn("run", out, *FEW, "--json", "-").out)
    assert alone["ann"] is None
    assert alone["energy"]["horowitz-45nm"]["ann_pJ"] is None
    assert alone["snn"] == stored["snn"]
    assert "SNN, T = 4" in refsnn("run", out, *FEW).out


def test_a_file_names_images_of_another_data_set(refsnn, tmp_path: Path) -> None:
    ann = tmp_path / "ann.h5"
    io.save(dataclasses.replace(io.load_ann(RELU), provenance={"by": "hand"}), ann)
    how = ("-m", "max-norm", "--set", "samples=40", "-o")
    for network, more, named in (
        (RELU, (), None),
        (ann, ("--data", "digits"), "digits"),
    ):
        net = tmp_path / f"{Path(network).stem}-net.h5"
        said = refsnn("convert", network, *how, net, *more)
        assert said.code == 0, said.err
        provenance = io.load_snn(net).provenance
        assert provenance.get("calibration_data") == named
        assert ("calibration_data_sha256" in provenance) == bool(named)
    assert provenance["by"] == "hand"


def test_json_goes_to_a_file_whole(refsnn, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    said = refsnn("run", QCFS, "-m", "qcfs", *FEW, "--json", path)
    assert "Accuracy" in said.out
    assert untimed(path.read_text())["images"] == 30
    assert list(tmp_path.iterdir()) == [path]


def test_info_of_a_trained_network(refsnn) -> None:
    said = refsnn("info", QCFS)
    assert said.code == 0
    for word in ("act3", "10,810", "qcfs: yes", "max-norm: yes", "conv2d: compiled"):
        assert word in said.out
    assert "qcfs: no: network digits_relu" in refsnn("info", RELU).out
    about = json.loads(refsnn("info", QCFS, "--json", "-").out)
    assert about["format"] == "refsnn-ann"
    assert about["methods"].keys() == METHODS.keys()
    assert about["macs"] == io.load_ann(QCFS).macs()


def test_info_of_a_converted_network(refsnn, tmp_path: Path) -> None:
    out = tmp_path / "net.h5"
    refsnn("convert", QCFS, "-m", "qcfs", "-o", out)
    said = refsnn("info", out).out
    for word in ("IF: compiled", "identity: NumPy definition", "method: qcfs"):
        assert word in said
    about = json.loads(refsnn("info", out, "--json", "-").out)
    assert about["ann_sha256"] == io.content_sha256(io.load_ann(QCFS))
    assert about["neurons"] == 3 * 1024 + 512


UNUSABLE = {
    "no such file": (("run", "no.h5", "-T", "1", "-m", "qcfs"), "no such file"),
    "a folder": (("info", "."), "a folder"),
    "recalled runs": (
        ("reproduce", "digits", "--from-recorded", "--only", "a/b", "--out=here"),
        "got --from-recorded with --only, --out; expected a run",
    ),
    "images": (
        ("info", WEIGHTS / "digits_test.h5"),
        "got labelled images; expected a network",
    ),
    "trace": (("info", VECTOR), "got a trace; expected a network"),
    "trace to run": (("run", VECTOR, "-T", "2"), "got a trace; expected a network"),
    "option of mode fixed": (
        ("run", QCFS, *FEW, *("-m", "srp", "--mode", "fixed", "--set", "fomat=Q4.4")),
        "got the option fomat; expected one of format, accumulator, overflow, tau",
    ),
    "no method": (("run", QCFS, "-T", "2"), "no --method"),
    "unknown method": (("run", QCFS, "-T", "2", "-m", "magic"), "qcfs, srp, srp-v0"),
    "unfit method": (("run", RELU, "-T", "2", "-m", "qcfs"), "expected qcfs only"),
    "T=0": (("run", QCFS, "-T", "0", "-m", "qcfs"), "at least 1 time step"),
    "T<0": (("run", QCFS, "-T", "-3", "-m", "qcfs"), "at least 1 time step"),
    "T text": (("run", QCFS, "-T", "two", "-m", "qcfs"), "integer"),
    "no T": (("run", QCFS, "-m", "qcfs"), "Missing option"),
    "unknown key": (
        ("run", QCFS, "-T", "1", "-m", "qcfs", "--set", "a=1"),
        "no options",
    ),
    "no value": (
        ("run", RELU, "-T", "1", "-m", "max-norm", "--set", "samples"),
        "key=",
    ),
    "key twice": (
        (
            "run",
            RELU,
            *FEW,
            "-m",
            "max-norm",
            "--set",
            "samples=1",
            "--set",
            "samples=2",
        ),
        "each key once",
    ),
    "samples": (
        ("run", RELU, *FEW, "-m", "max-norm", "--set", "samples=-1"),
        "or 0 for",
    ),
    "limit": (
        ("run", QCFS, "-T", "1", "-m", "qcfs", "--limit", "0"),
        "greater than or equal to 1",
    ),
    "batch": (("run", QCFS, *FEW, "-m", "qcfs", "--batch", "0"), "at least 1"),
    "threads": (("run", QCFS, *FEW, "-m", "qcfs", "--threads", "0"), "at least 1"),
    "samples of a trace": (
        ("trace", QCFS, "-T", "1", "-m", "qcfs", "-o", "x.h5", "--samples", "0"),
        "greater than or equal to 1",
    ),
    "methods": (("methods", "magic"), "one of qcfs, srp"),
    "data": (("run", QCFS, *FEW, "-m", "qcfs", "--data", "mnist"), "one of digits"),
    "impl": (
        ("run", QCFS, *FEW, "-m", "qcfs", "--impl", "gpu"),
        "'kernel', 'definition'",
    ),
    "mode": (("run", QCFS, *FEW, "-m", "qcfs", "--mode", "fast"), "'ordered'"),
    "ann of ann": (
        ("run", QCFS, *FEW, "-m", "qcfs", "--ann", QCFS),
        "--ann with a con",
    ),
    "no command": (("fly",), "No such command"),
    "no option": (("demo", "--loud"), "No such option"),
    "json in no folder": (
        ("run", QCFS, *FEW, "-m", "qcfs", "--json", "no/r.json"),
        "no such folder",
    ),
    "json is a network": (
        ("run", QCFS, *FEW, "-m", "qcfs", "--json", QCFS),
        "no result of refsnn",
    ),
    "json is a folder": (("info", QCFS, "--json", "."), "a folder"),
    "too many samples": (
        ("run", RELU, *FEW, "-m", "max-norm", "--set", "samples=1348"),
        "at most 1347",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_arguments_end_with_2_and_say_why(refsnn, name: str) -> None:
    arguments, message = UNUSABLE[name]
    said = refsnn(*arguments)
    assert said.code == 2
    assert message in " ".join(said.err.replace("│", " ").split())
    assert "Traceback" not in said.err
    assert said.out == ""


def test_a_converted_network_needs_no_method(refsnn, tmp_path: Path) -> None:
    out = tmp_path / "net.h5"
    refsnn("convert", QCFS, "-m", "qcfs", "-o", out)
    said = refsnn("run", out, *FEW, "-m", "qcfs")
    assert (said.code, said.out) == (2, "")
    assert "converted already" in said.err
    said = refsnn("run", out, *FEW, "--ann", RELU)
    assert said.code == 2
    assert ", of which" in said.err
    said = refsnn("convert", out, "-m", "qcfs", "-o", tmp_path / "again.h5")
    assert said.code == 2
    assert "expected a trained network" in said.err


def test_convert_goes_on_where_it_was_stopped(
    refsnn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, train, begun = tmp_path / "net.h5", weights.trained, []
    command = ["convert", RELU, "-m", "calib-advanced", "-T", 4, "-o", out]
    command += ["--set", "iterations=2", "--set", "samples=128"]

    def counted(*args: object, **more: object) -> np.ndarray:
        begun.append(args)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return train(*args, **more)

    monkeypatch.setattr(weights, "trained", counted)
    said = refsnn(*command)
    assert said.code == 130
    assert "net.h5.layers; the same command goes on" in said.err
    assert not out.exists()
    (tmp_path / "net.h5.layers" / "mine.txt").write_text("precious")
    assert refsnn("convert", RELU, "-m", "rts", "-T", 4, "-o", out).code == 0
    assert len(list((tmp_path / "net.h5.layers").glob("*.npy"))) == 1
    assert refsnn(*command, "--force").code == 0
    assert len(begun) == 1 + len(io.load_snn(out).hidden)
    left = [file.name for file in (tmp_path / "net.h5.layers").iterdir()]
    assert left == ["mine.txt"]  # not ours
    (tmp_path / "file.h5.layers").write_text("")
    said = refsnn(*command[:-5], tmp_path / "file.h5", *command[-4:])
    assert (said.code, "file.h5.layers" in said.err) == (2, True)


def test_convert_replaces_only_when_told(refsnn, tmp_path: Path) -> None:
    out = tmp_path / "net.h5"
    out.write_text("precious")
    said = refsnn("convert", QCFS, "-m", "qcfs", "-o", out)
    assert said.code == 2
    assert "--force" in said.err
    assert out.read_text() == "precious"
    assert refsnn("convert", QCFS, "-m", "qcfs", "-o", out, "--force").code == 0
    said = refsnn("convert", QCFS, "-m", "qcfs", "-o", QCFS, "--force")
    assert said.code == 2
    assert "the trained network" in said.err
    first = out.read_bytes()
    refsnn("convert", QCFS, "-m", "qcfs", "-o", out, "--force")
    assert out.read_bytes() == first


@pytest.mark.parametrize(
    "command",
    [
        ("convert", RELU, "-m", "opi", "-o", "x.h5"),
        ("run", RELU, *FEW, "-m", "opi", "--json", "x.json"),
        ("run", RELU, *FEW, "-m", "opi", "--report", "page"),
        ("reproduce", "digits", "--out", "there/results"),
    ],
)
def test_folders_without_permission_are_refused_first(
    refsnn, tmp_path: Path, monkeypatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    real = os.access  # which lets root write anywhere
    monkeypatch.setattr(
        "os.access", lambda path, how, **k: not how & os.W_OK and real(path, how, **k)
    )
    io.need_target(Path("/dev/null"), force=True)
    said = refsnn(*command)
    assert said.code == 2
    assert "without permission to write" in said.err
    assert list(tmp_path.iterdir()) == []


def test_more_steps_than_certified_are_told(refsnn, tmp_path: Path) -> None:
    few, many = tmp_path / "few.h5", tmp_path / "many.h5"
    assert refsnn("convert", QCFS, "-m", "qcfs", "-o", few).code == 0
    run = ("run", few, "-T", "1100", "--limit", "2")
    told = " ".join(refsnn(*run).err.split())
    assert "certificate is for T = 1024, not 1100" in told
    assert "convert --snap float64 -T 1100" in told
    assert refsnn(*run, "--mode", "ordered").err == ""
    trace = ("trace", few, "-T", "1100", "-o", tmp_path / "trace.h5")
    assert "the certificate is for T = 1024" in refsnn(*trace).err
    assert refsnn("convert", QCFS, "-m", "qcfs", "-T", "1100", "-o", many).code == 0
    snn = io.load_snn(many)
    assert (snn.certificate["T"], snn.mode) == (1100, "exact")
    assert refsnn("run", many, "-T", "1100", "--limit", "2").err == ""


def test_a_missing_split_is_never_replaced(
    refsnn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("manifest.json", "digits_test.h5"):
        (tmp_path / name).write_bytes((WEIGHTS / name).read_bytes())
    where = "refsnn.datasets.digits.weights_folder"
    monkeypatch.setattr(where, lambda: tmp_path)
    said = refsnn("run", RELU, "-m", "max-norm", *FEW)
    assert said.code == 2
    assert "split train" in said.err
    assert refsnn("run", QCFS, "-m", "qcfs", *FEW).code == 0


def test_text_from_a_file_cannot_command_the_terminal(refsnn, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    io.save(random_net(1), path)
    with h5py.File(path, "r+") as file:
        file.attrs["name"] = "evil\x1b[2J\nname [bold] :smile:"
        del file.attrs["sha256"]
    said = refsnn("info", path)
    assert said.code == 0
    assert "\x1b" not in said.out
    assert "evil\\x1b[2J\\nname [bold] :smile:" in said.out
    assert "no sha256" in said.err
    said = refsnn("run", path, "-m", "qcfs", *FEW)
    assert said.code == 2
    assert "\x1b" not in said.err
    assert "no data set named in the file" in said.err


def test_a_data_set_of_another_shape_is_refused(refsnn, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    act = ACTIVATIONS["qcfs"](2.0)
    io.save(architectures.build("resnet20-a", classes=10, activation=act), path)
    said = refsnn("run", path, "-m", "qcfs", "--data", "digits", *FEW)
    assert said.code == 2
    assert "expected (B, 3, 32, 32)" in said.err


def test_an_internal_error_is_one_line_and_70(
    refsnn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("oh\x1b[31m no")

    monkeypatch.setattr(io, "load", fail)
    said = refsnn("info", QCFS)
    assert said.code == 70
    assert said.out == ""
    assert said.err.splitlines() == [
        "refsnn: internal error: RuntimeError: oh\\x1b[31m no "
        "(run again with --debug for the traceback)"
    ]
    said = refsnn("info", QCFS, "--debug")
    assert said.code == 70
    assert "Traceback" in said.err


def test_debug_changes_no_exit_code(refsnn) -> None:
    said = refsnn("--debug", "info", "no.h5")
    assert said.code == 2
    assert "Traceback" in said.err
    assert said.err.splitlines()[-1].startswith(
        "refsnn: error: no.h5: got no such file"
    )


def test_version_and_help(refsnn) -> None:
    import refsnn as package

    assert refsnn("--version").out == f"refsnn {package.__version__}\n"
    said = refsnn("--help").out
    assert all(name in said for name in ("demo", "info", "convert", "run"))


def test_the_program_is_installed_and_silent_when_not_a_terminal(
    tmp_path: Path,
) -> None:
    program = Path(sys.executable).with_name("refsnn")
    done = subprocess.run(
        [
            program,
            "run",
            RELU,
            "-m",
            "max-norm",
            "-T",
            "2",
            "--limit",
            "9",
            "--json",
            "-",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "COLUMNS": "40"},
    )
    assert json.loads(done.stdout)["images"] == 9
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_has_enough_is_no_error() -> None:
    program = Path(sys.executable).with_name("refsnn")
    command = f'"{program}" info "{QCFS}" | head -1; exit "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 128 + 13}
    assert done.stdout == "Trained network digits_qcfs (refsnn-ann)\n"
    assert done.stderr == ""


def test_a_lost_connection_is_an_error(monkeypatch, refsnn) -> None:
    """Of a socket, whose other side is gone, not of standard output."""
    monkeypatch.setattr(signal, "signal", lambda *given: told.append(given))
    monkeypatch.setattr("refsnn.datasets.fetch", lambda name, **_: Path(name))
    told: list = []
    assert refsnn("data", "fetch", "cifar10").code == 0
    assert told == [(signal.SIGPIPE, signal.SIG_IGN)]
    command = sys.modules["refsnn.cli.reproduce"]
    monkeypatch.setattr(command, "reproduced", lambda *_, **__: 1 / 0)
    refsnn("reproduce", "digits")
    assert len(told) == 1
    refsnn("reproduce", "digits", "--executor", "dask")
    assert told == [(signal.SIGPIPE, signal.SIG_IGN)] * 2


def test_output_that_cannot_be_encoded_is_escaped(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    io.save(dataclasses.replace(random_net(1), name="\u00e9"), path)
    done = subprocess.run(
        [sys.executable, "-m", "refsnn", "info", path],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.stdout.startswith("Trained network \\xe9 ")


def test_a_trace_in_a_stated_mode(refsnn, tmp_path: Path) -> None:
    """`--mode fixed`: the golden model of hardware; an overflow writes nothing."""
    trace = ("trace", QCFS, "-T", "2", "-m", "qcfs", "--mode")
    narrow = ("--set", "format=Q3.8", "--set", "accumulator=11")
    file = tmp_path / "fixed.h5"
    said = refsnn(*trace, "fixed", *narrow, "--set", "overflow=wrap", "-o", file)
    assert said.code == 0
    assert "mode fixed on int64, Q3.8 in 11 bits, overflow wrap\n" in said.out
    fixed = Fixed(format="Q3.8", accumulator=11, overflow="wrap")
    got = io.load_trace(file)
    assert got.fixed == fixed
    snn = convert(io.load_ann(QCFS), "qcfs")
    x = snn.preprocess(datasets.load("digits", "test").images[:1])
    want = spikes_of(snn, x, 2, fixed=fixed)[0]
    for name, recorded in got.populations.items():
        assert (recorded.spikes == want[name]).all()
    with h5py.File(file) as h5:
        assert json.loads(h5.attrs["fixed"]) == dataclasses.asdict(fixed)
    said = refsnn(*trace, "fixed", *narrow, "-o", tmp_path / "none.h5")
    assert said.code == 1
    assert "Take a wider accumulator" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["fixed.h5"]
    said = refsnn(*trace, "ordered", "-o", tmp_path / "ordered.h5")
    assert "mode ordered on float64\n" in said.out
    with h5py.File(tmp_path / "ordered.h5") as h5:
        assert "fixed" not in h5.attrs


def test_tables_show_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """No markup and no control character of a file's name reaches the terminal."""
    for name, shown in (
        ("[/red]x", "[/red]x"),
        ("[red]net[/red]", "[red]net[/red]"),
        ("\x1b[31mred", "\\x1b[31mred"),
    ):
        common.table(f"Bits of {name}", ("", f"of {name}"), [(name, 1_000)])
        title, head, row = capsys.readouterr().out.splitlines()
        assert title.strip() == f"Bits of {shown}"
        assert head.strip() == f"of {shown}"
        assert row.split() == [*shown.split(), "1,000"]


def test_a_result_may_be_written_again(refsnn, tmp_path: Path) -> None:
    net, trace = tmp_path / "net.h5", tmp_path / "trace.h5"
    assert refsnn("convert", QCFS, "-m", "qcfs", "-o", net).code == 0
    assert refsnn("trace", net, "-T", "2", "-o", trace).code == 0
    for command in (
        ("methods", "srp"),
        ("certify", net, "-T", "2"),
        ("margin", net, trace),
        ("errors", net, "--ann", QCFS, "-T", "2", "--limit", "1"),
    ):
        file = tmp_path / f"{command[0]}.json"
        assert refsnn(*command, "--json", file).code == 0
        answer = json.loads(file.read_bytes())
        assert answer["format"].startswith("refsnn-")
        assert answer["version"] == 1
        assert refsnn(*command, "--json", file).code == 0
        assert json.loads(file.read_bytes()) == answer


def test_a_network_is_certified_for_its_own_T_alone(refsnn, tmp_path: Path) -> None:
    net = tmp_path / "net.h5"
    how = ("-m", "rts", "-T", "8", "--set", "samples=20")
    assert refsnn("convert", RELU, *how, "-o", net).code == 0
    assert refsnn("certify", net, "-T", "8").code == 0
    for command in ("certify", "run"):
        said = refsnn(command, net, "-T", "64")
        assert said.code == 2
        assert "got T = 64; expected T = 8, which method rts converted" in said.err
