"""Level 5: files. What is written is read back; what is broken is refused by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from nets import ACTIVATIONS, images, random_net, same
from refsnn import io
from refsnn.convert import convert
from refsnn.errors import (
    DataError,
    FormatError,
    OptionError,
    RefsnnError,
    ShapeError,
)
from refsnn.io import RULES
from refsnn.network import Network, SpikingNetwork
from refsnn.records import Record, kinds
from refsnn.run import run_ann, run_snn
from test_run import dual_net


def assert_same_record(a: Record, b: Record) -> None:
    assert type(a) is type(b)
    for name, _ in kinds(type(a)):
        mine, theirs = getattr(a, name), getattr(b, name)
        if isinstance(mine, np.ndarray):
            assert same(mine, theirs), name
        else:
            assert mine == theirs, name


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_a_trained_network_comes_back(kind: str, tmp_path: Path) -> None:
    ann = random_net(1, ACTIVATIONS[kind])
    io.save(ann, tmp_path / "a.h5")
    back = io.load_ann(tmp_path / "a.h5")
    assert [(n.name, n.inputs) for n in back.nodes] == [
        (n.name, n.inputs) for n in ann.nodes
    ]
    for mine, theirs in zip(ann.nodes, back.nodes, strict=True):
        assert_same_record(mine.op, theirs.op)
    for field in ("name", "input_shape", "classes", "provenance"):
        assert getattr(back, field) == getattr(ann, field)
    assert same(back.mean, ann.mean)
    assert io.content_sha256(back) == io.content_sha256(ann)
    x = ann.preprocess(images(0, 3))
    assert same(run_ann(back, x), run_ann(ann, x))


def converted() -> SpikingNetwork:
    ann = random_net(1, ACTIVATIONS["relu"])
    return convert(ann, "max-norm", images=images(2, 9), options={"samples": 5})


@pytest.mark.parametrize("make", [converted, lambda: dual_net(3)])
def test_a_converted_network_comes_back(
    make: Callable[[], SpikingNetwork], tmp_path: Path
) -> None:
    snn = make()
    io.save(snn, tmp_path / "s.h5")
    back = io.load_snn(tmp_path / "s.h5")
    for mine, theirs in zip(snn.populations, back.populations, strict=True):
        assert (mine.name, mine.shape) == (theirs.name, theirs.shape)
        for field in ("theta", "v0", "scale"):
            assert same(getattr(mine, field), getattr(theirs, field))
        if mine.neuron:
            assert_same_record(mine.neuron, theirs.neuron)
        for p, q in zip(mine.projections, theirs.projections, strict=True):
            assert p.source == q.source
            assert_same_record(p.op, q.op)
            for one, other in zip(p.pool, q.pool, strict=True):
                assert_same_record(one, other)
    for field in ("method", "options", "T", "ann_sha256", "profile", "mode"):
        assert getattr(back, field) == getattr(snn, field)
    assert io.content_sha256(back) == io.content_sha256(snn)
    x = snn.preprocess(images(0, 3))
    assert same(run_snn(back, x, 4).logits, run_snn(snn, x, 4).logits)


def test_sample_ids_come_back(tmp_path: Path) -> None:
    io.save(converted(), tmp_path / "s.h5")
    assert io.load_snn(tmp_path / "s.h5").samples.tolist() == [0, 1, 2, 3, 4]


def test_images_come_back(tmp_path: Path) -> None:
    pixels, labels = images(1, 4), np.arange(4, dtype=np.uint8)
    io.save_images(pixels, labels, tmp_path / "i.h5")
    back = io.load_images(tmp_path / "i.h5")
    assert same(back[0], pixels)
    assert same(back[1], labels)


def test_equal_content_makes_equal_bytes_in_any_process(tmp_path: Path) -> None:
    io.save(random_net(1), tmp_path / "a.h5")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from nets import random_net; from refsnn import io\n"
        "io.save(random_net(1), sys.argv[2])\n"
    )
    other = tmp_path / "b.h5"
    command = [sys.executable, "-c", script, str(Path(__file__).parent), str(other)]
    subprocess.run(command, check=True)
    assert other.read_bytes() == (tmp_path / "a.h5").read_bytes()


def test_the_hash_is_that_of_the_documentation(tmp_path: Path) -> None:
    """Recomputed with h5py alone, from the words of the format."""
    import hashlib

    io.save(random_net(1), tmp_path / "a.h5")
    sha = hashlib.sha256()
    attributes: dict[str, dict] = {}

    def visit(name: str, item: h5py.HLObject) -> None:
        path = "/" + name.strip("/")
        if isinstance(item, h5py.Group):
            attributes[path] = {
                k: v.tolist() if isinstance(v, (np.ndarray, np.generic)) else v
                for k, v in item.attrs.items()
            }
        else:
            arrays[path] = item[()]

    arrays: dict[str, np.ndarray] = {}
    with h5py.File(tmp_path / "a.h5") as file:
        visit("/", file)
        file.visititems(visit)
    for path, array in sorted(arrays.items()):
        shape = json.dumps(list(array.shape), separators=(",", ":"))
        sha.update(f"{path}\0{array.dtype.str}\0{shape}\0".encode())
        sha.update((array + array.dtype.type(0)).tobytes())
    stored = attributes["/"].pop("sha256")
    sha.update(json.dumps(attributes, sort_keys=True, separators=(",", ":")).encode())
    assert sha.hexdigest() == stored


def test_minus_zero_and_zero_are_one_content(tmp_path: Path) -> None:
    for name, zero in (("plus", 0.0), ("minus", -0.0)):
        ann = random_net(1, values=lambda rng, shape: np.full(shape, zero))  # noqa: B023 - called at once
        assert not np.signbit(ann["conv1"].op.weight).any()
        io.save(ann, tmp_path / name)
    assert (tmp_path / "plus").read_bytes() == (tmp_path / "minus").read_bytes()


def test_files_may_be_saved_from_many_threads(tmp_path: Path) -> None:
    ann = random_net(1)

    def save(index: int) -> bytes:
        path = tmp_path / f"{index}.h5"
        io.save(ann, path)
        return path.read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(save, range(60)))) == 1


def test_what_is_no_network_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="got a tuple"):
        io.save((1, 2), tmp_path / "a.h5")
    with pytest.raises(OptionError, match="a folder"):
        io.save(random_net(1), tmp_path, force=True)
    for pixels, labels in [
        (images(1, 4).astype(np.float64), np.zeros(4, dtype=np.uint8)),
        (images(1, 4), np.zeros(3, dtype=np.uint8)),
        (images(1, 4), np.zeros((4, 1), dtype=np.uint8)),
        (images(1, 4), np.zeros(4, dtype=np.int64)),
        (images(1, 4), np.zeros(4, dtype=np.uint16)),  # memory holds them, no file
        ([1, 2], [3]),
    ]:
        with pytest.raises(ShapeError, match="labelled images"):
            io.save_images(pixels, labels, tmp_path / "i.h5")
    assert list(tmp_path.iterdir()) == []


def test_saving_replaces_only_when_told(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_text("precious")
    with pytest.raises(OptionError, match="--force"):
        io.save(random_net(1), path)
    assert path.read_text() == "precious"
    io.save(random_net(1), path, force=True)
    assert isinstance(io.load(path), Network)
    with pytest.raises(OptionError, match="no such folder"):
        io.save(random_net(1), tmp_path / "nowhere" / "a.h5")


def test_a_save_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.h5"
    path.write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError(28, f"No space left on device ({descriptor > 0})")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        io.save(random_net(1), path, force=True)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_devices_are_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    io.write_atomically(pipe, b"text")
    assert os.read(reader, 10) == b"text"
    os.close(reader)
    assert pipe.is_fifo()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no folder of files in /dev")
def test_files_below_dev_are_replaced() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder, "file")
        io.write_atomically(path, b"one")
        io.write_atomically(path, b"two")
        assert path.read_bytes() == b"two"


def test_what_leads_to_an_open_file_is_written_behind_what_is_there(tmp_path) -> None:
    with (tmp_path / "file").open("w") as file:
        link = Path(f"/dev/fd/{file.fileno()}")
        if not link.exists():
            pytest.skip("no /dev/fd")
        for text in (b"one", b"two"):
            io.write_atomically(link, text)
    assert (tmp_path / "file").read_bytes() == b"onetwo"


def test_a_network_before_normalisation_is_not_saved(tmp_path: Path) -> None:
    from nets import dual_rule, exact_net
    from refsnn.passes import activations_to_neurons

    with pytest.raises(OptionError, match="canonical"):
        io.save(activations_to_neurons(exact_net(0), dual_rule), tmp_path / "s.h5")


# -- refusals ----------------------------------------------------------------------


def rewritten(path: str, array: np.ndarray, **how: object) -> Callable:
    """Replace a data set."""

    def change(file: h5py.File) -> None:
        del file[path]
        file.create_dataset(path, data=array, **how)

    return change


def attribute(path: str, name: str, value: object) -> Callable:
    """Set an attribute, or delete it."""

    def change(file: h5py.File) -> None:
        if value is None:
            del file[path].attrs[name]
        else:
            file[path].attrs[name] = value

    return change


def deleted(path: str) -> Callable:
    def change(file: h5py.File) -> None:
        del file[path]

    return change


def linked(link: object, path: str = "/nodes/conv1/weight") -> Callable:
    def change(file: h5py.File) -> None:
        if path in file:
            del file[path]
        file[path] = link

    return change


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(4, 2, 3, 3), dtype="f8")
    layout[...] = h5py.VirtualSource("elsewhere.h5", "w", shape=(4, 2, 3, 3))
    del file["/nodes/conv1/weight"]
    file["/nodes/conv1"].create_virtual_dataset("weight", layout)


def external(file: h5py.File) -> None:
    del file["/nodes/conv1/weight"]
    file["/nodes/conv1"].create_dataset(
        "weight", (4, 2, 3, 3), "f8", external=[("secret.bin", 0, 576)]
    )


def unwritten(chunks: tuple | None) -> Callable:
    def change(file: h5py.File) -> None:
        del file["/nodes/conv1/weight"]
        made = file.create_dataset(
            "/nodes/conv1/weight", (4, 2, 3, 3), "f8", chunks=chunks
        )
        if chunks:
            made[:2] = 1.0  # half the chunks

    return change


def compact(file: h5py.File) -> None:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_layout(h5py.h5d.COMPACT)
    del file["/nodes/conv1/bias"]
    space = h5py.h5s.create_simple((4,))
    group = file["/nodes/conv1"].id
    made = h5py.h5d.create(group, b"bias", h5py.h5t.NATIVE_DOUBLE, space, creation)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones(4))


def named_type(file: h5py.File) -> None:
    file["/nodes/kind"] = np.dtype("f8")


def shared(file: h5py.File) -> None:
    del file["/nodes/conv2/bias"]
    file["/nodes/conv2/bias"] = file["/nodes/conv1/bias"]


def looped(file: h5py.File) -> None:
    file["/nodes/conv1/loop"] = file["/nodes"]


def dressed(file: h5py.File) -> None:
    file["/nodes/conv1/weight"].attrs["units"] = "mV"


def weight(dtype: str = "f8", shape: tuple[int, ...] = (4, 2, 3, 3)) -> np.ndarray:
    return np.ones(shape, dtype=dtype)


W = "/nodes/conv1/weight"
nan, inf = weight(), weight()
nan[1, 1, 1, 1], inf[0, 0, 0, 0] = np.nan, -np.inf

BROKEN: dict[str, tuple[str, str, Callable]] = {
    "wrong format": ("004", "/@format", attribute("/", "format", "netx")),
    "no format": ("004", "/@format", attribute("/", "format", None)),
    "format of another type": ("004", "/@format", attribute("/", "format", [1.0])),
    "wrong version": ("005", "/@version", attribute("/", "version", 2)),
    "version as text": ("005", "/@version", attribute("/", "version", "1")),
    "no nodes": ("006", "/nodes", deleted("/nodes")),
    "no weight": ("006", W, deleted(W)),
    "group for weight": ("006", W, lambda f: (deleted(W)(f), f.create_group(W))),
    "no gamma": ("006", "/nodes/conv1_bn/gamma", deleted("/nodes/conv1_bn/gamma")),
    "extra array": (
        "007",
        "/nodes/conv1/x",
        lambda f: f.create_dataset("/nodes/conv1/x", data=[1.0]),
    ),
    "extra group": ("007", "/more", lambda f: f.create_group("/more")),
    "named type": ("007", "/nodes/kind", named_type),
    "soft link": ("008", W, linked(h5py.SoftLink("/nodes/conv2/weight"))),
    "dangling soft link": ("008", W, linked(h5py.SoftLink("/nowhere"))),
    "external link": ("008", W, linked(h5py.ExternalLink("/etc/passwd", "/"))),
    "linked group": ("008", "/nodes/l", linked(h5py.SoftLink("/nodes"), "/nodes/l")),
    "two links": ("008", "/nodes/conv2/bias", shared),
    "a loop of links": ("008", "/nodes/conv1/loop", looped),
    "virtual": ("009", W, virtual),
    "external": ("009", W, external),
    "half": ("010", W, rewritten(W, weight("f2"))),
    "integers": ("010", W, rewritten(W, weight("i4"))),
    "int64 weight": ("010", W, rewritten(W, weight("i8"))),
    "big-endian": ("010", W, rewritten(W, weight(">f8"))),
    "text": ("010", W, rewritten(W, np.array([b"x"]))),
    "pickle": ("010", W, rewritten(W, np.array([b"x"], dtype="V1"))),
    "strange attribute": (
        "010",
        "/nodes/conv1@stride",
        attribute("/nodes/conv1", "stride", np.ones((2, 2))),
    ),
    "nested type": (
        "010",
        "/@classes",
        lambda f: f.attrs.create("classes", np.zeros(1, dtype=[("a", "i4")])),
    ),
    "not JSON": ("019", "@provenance", attribute("/", "provenance", '{"x": NaN}')),
    "not UTF-8": ("010", "/@name", attribute("/", "name", np.bytes_(b"\xff\xfe"))),
    "wrong rank": ("011", W, rewritten(W, weight(shape=(4, 18)))),
    "wrong channels": ("011", "/nodes", rewritten(W, weight(shape=(4, 3, 3, 3)))),
    "wrong bias": (
        "011",
        "/nodes/conv1",
        rewritten("/nodes/conv1/bias", np.ones(5)),
    ),
    "empty": ("011", W, rewritten(W, weight(shape=(0, 2, 3, 3)))),
    "no shape": (
        "011",
        W,
        lambda f: (deleted(W)(f), f.create_dataset(W, data=h5py.Empty("f8"))),
    ),
    "never written": ("012", W, unwritten(None)),
    "half written": ("012", W, unwritten((1, 2, 3, 3))),
    "NaN": ("013", W, rewritten(W, nan)),
    "infinity": ("013", W, rewritten(W, inf)),
    "NaN attribute": ("013", "/@mean", attribute("/", "mean", [np.nan, 0.0])),
    "unknown op": ("014", "/nodes/act1@op", attribute("/nodes/act1", "op", "gelu")),
    "dangling": ("015", "/nodes", attribute("/nodes/act1", "inputs", '["no"]')),
    "loose end": ("015", "/nodes", attribute("/nodes/conv4", "inputs", '["act2"]')),
    "cycle": ("016", "/nodes", attribute("/nodes/conv1", "inputs", '["act5"]')),
    "self loop": ("016", "/nodes", attribute("/nodes/act1", "inputs", '["act1"]')),
    "changed weight": ("017", "/@sha256", rewritten(W, weight())),
    "changed attribute": ("017", "/@sha256", attribute("/", "name", "other")),
    "changed provenance": ("017", "/@sha256", attribute("/", "provenance", "{}")),
    "changed hash": ("017", "/@sha256", attribute("/", "sha256", "0" * 64)),
    "compact": ("018", "/nodes/conv1/bias", compact),
    "lzf": ("018", W, rewritten(W, weight(), compression="lzf")),
    "scale-offset": ("018", W, rewritten(W, weight("i4"), scaleoffset=0)),
    "no attribute": ("019", "/@classes", attribute("/", "classes", None)),
    "extra attribute": ("019", "/@colour", attribute("/", "colour", "red")),
    "no op": ("019", "/nodes/act1@op", attribute("/nodes/act1", "op", None)),
    "type": ("019", "/@classes", attribute("/", "classes", "three")),
    "inputs": ("019", "/nodes/act1@inputs", attribute("/nodes/act1", "inputs", "bn")),
    "input numbers": ("019", "@inputs", attribute("/nodes/act1", "inputs", "[1]")),
    "no stride": ("019", "conv1@stride", attribute("/nodes/conv1", "stride", None)),
    "stride": ("019", "/nodes/conv1", attribute("/nodes/conv1", "stride", [0, 1])),
    "levels": ("019", "/nodes/act1", attribute("/nodes/act1", "levels", 0)),
    "index": ("019", "/nodes", attribute("/nodes/act1", "index", 0)),
    "lam": ("019", "/nodes/act1", rewritten("/nodes/act1/lam", np.array(-1.0))),
    "deep JSON": ("019", "/@provenance", attribute("/", "provenance", "[" * 100_000)),
    "dressed array": ("019", W, dressed),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "a.h5"
    io.save(random_net(1), path)
    return path.read_bytes()


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_by_rule_and_path(
    name: str, good: bytes, tmp_path: Path
) -> None:
    rule, place, change = BROKEN[name]
    path = tmp_path / "a.h5"
    path.write_bytes(good)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(FormatError) as caught:
        io.load(path)
    assert caught.value.rule == f"RSN-H5-{rule}", caught.value
    assert f"{path}:" in str(caught.value)
    assert place in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "content"),
    [
        ("001", lambda good: b"PK\x03\x04" + good[4:]),
        ("001", lambda good: b"hello"),
        ("002", lambda good: b""),
        ("003", lambda good: good[:5]),
        ("003", lambda good: good[:8]),
        ("003", lambda good: good[: len(good) // 2]),
        ("003", lambda good: good[:-1]),
    ],
)
def test_what_is_no_file_of_this_kind_is_refused(
    rule: str, content: Callable[[bytes], bytes], good: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(content(good))
    with pytest.raises(FormatError) as caught:
        io.load(path)
    assert caught.value.rule == f"RSN-H5-{rule}"


def test_every_rule_is_shown_to_bite() -> None:
    shown = {f"RSN-H5-{rule}" for rule, _, _ in BROKEN.values()}
    assert shown | {"RSN-H5-001", "RSN-H5-002", "RSN-H5-003"} == set(RULES)


@pytest.mark.parametrize(
    ("rule", "place", "change"),
    [
        ("014", "@model", attribute("/populations/act1/neuron", "model", "LIF")),
        ("014", "@op", attribute("/populations/act1/projections/0", "op", "fft")),
        ("014", "@profile", attribute("/", "profile", '{"reset":"to-zero"}')),
        ("014", "@mode", attribute("/", "mode", "fast")),
        (
            "015",
            "/populations",
            attribute("/populations/act2/projections/0", "source", "x"),
        ),
        (
            "016",
            "/populations",
            attribute("/populations/act1/projections/0", "source", "act5"),
        ),
        (
            "019",
            "@pool",
            attribute("/populations/act1/projections/0", "pool", "[[2,2]]"),
        ),
        (
            "019",
            "/populations/act1",
            rewritten("/populations/act1/theta", np.array(-1.0)),
        ),
        ("019", "/populations", rewritten("/populations/act1/theta", np.array(2.0))),
        ("010", "/samples", rewritten("/samples", np.array([1.0]))),
        ("006", "/populations/act1/v0", deleted("/populations/act1/v0")),
        ("019", "certificate", attribute("/", "certificate", "{}")),
        ("019", "@certificate", attribute("/", "certificate", "[]")),
        (
            "019",
            "sound values",
            attribute(
                "/",
                "certificate",
                '{"accumulator":"float32","T":4,"static":false,"bits":9,"images":1,'
                '"recursion":{"act1":5000}}',
            ),
        ),
        ("019", "T", attribute("/", "T", -3)),
        ("019", "ann_sha256", attribute("/", "ann_sha256", "zz")),
        ("019", "samples", rewritten("/samples", np.ones((1, 2), dtype=np.int64))),
        ("011", "/populations", attribute("/populations/act1", "shape", [3, 8, 8])),
        ("019", "@shape", attribute("/populations/act1", "shape", [4.0, 8.0, 8.0])),
    ],
)
def test_broken_converted_networks_are_refused(
    rule: str, place: str, change: Callable, tmp_path: Path
) -> None:
    path = tmp_path / "s.h5"
    io.save(converted(), path)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(FormatError) as caught:
        io.load(path)
    assert caught.value.rule == f"RSN-H5-{rule}", caught.value
    assert place in str(caught.value)


@pytest.mark.parametrize("keep", [0.02, 0.2, 0.5, 0.8, 0.95, 0.999])
def test_truncated_files_are_refused(keep: float, good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(good[: int(len(good) * keep)])
    with pytest.raises(FormatError):
        io.load(path)


def test_a_flipped_byte_is_refused_or_harmless(good: bytes, tmp_path: Path) -> None:
    """Every 389th byte: an error of ours, or the same content; never another crash."""
    path = tmp_path / "a.h5"
    want = io.content_sha256(random_net(1))
    refused = 0
    for position in range(0, len(good), 389):
        damaged = bytearray(good)
        damaged[position] ^= 0x55
        path.write_bytes(damaged)
        try:
            assert io.content_sha256(io.load(path)) == want, position
        except RefsnnError:
            refused += 1
    assert refused > 10


def test_compressed_files_are_read(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(good)
    how = {"compression": "gzip", "shuffle": True, "fletcher32": True, "chunks": True}
    with h5py.File(path, "r+") as file:
        rewritten(W, file[W][()], **how)(file)
    assert io.content_sha256(io.load(path)) == io.content_sha256(random_net(1))


def test_networks_are_compressed_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    ann = random_net(1)
    io.save(ann, path, compressed=True)
    with h5py.File(path) as file:
        assert file[W].compression == "gzip"
        assert file[W].shuffle
    assert io.content_sha256(io.load(path)) == io.content_sha256(ann)


def test_attributes_of_other_types_are_not_even_read(
    good: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(good)
    with h5py.File(path, "r+") as file:
        file.attrs.create("classes", np.zeros(1, dtype=[("a", "i4")]))
    with pytest.raises(FormatError, match="compound or reference"):
        io.load(path)


def test_a_file_without_a_hash_is_read_with_a_warning(
    good: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(good)
    with h5py.File(path, "r+") as file:
        del file.attrs["sha256"]
    with pytest.warns(UserWarning, match="no sha256"):
        io.load(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        io.load(tmp_path / "a.h5")
    with pytest.raises(DataError, match="a folder"):
        io.load(tmp_path)


def test_the_wrong_kind_of_file_is_refused(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(good)
    with pytest.raises(DataError, match="got a trained network"):
        io.load_snn(path)
    with pytest.raises(DataError, match="got a trained network"):
        io.load_images(path)
    io.save_images(images(0, 2), np.zeros(2, dtype=np.uint8), path, force=True)
    with pytest.raises(DataError, match="got labelled images"):
        io.load_ann(path)
