"""Networks of other frameworks, from files, without the frameworks."""

from __future__ import annotations

import json
import warnings
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from nets import trained_by_others
from refsnn import architectures, datasets, io
from refsnn.activations import QCFS, Clip, ReLU
from refsnn.errors import ConversionError, DataError, DomainError, FormatError
from refsnn.evaluate import ann_predictions
from refsnn.exchange import from_keras, from_state_dict, read_state_dict
from refsnn.network import Network
from refsnn.run import run_ann

NAMES = {"gamma": "weight", "beta": "bias", "mean": "running_mean"}
NAMES |= {"var": "running_var", "weight": "weight", "bias": "bias", "lam": "thresh"}


def state_dict(ann: Network, prefix: str = "") -> dict[str, np.ndarray]:
    """A network's tensors under the keys of the released code."""
    tensors = {}
    for node in ann.nodes:
        for field, key in NAMES.items():
            value = getattr(node.op, field, None)
            if value is not None and not node.name.endswith("shortcut"):
                value = value.reshape(1) if field == "lam" else value
                tensors[f"{prefix}{node.name}.{key}"] = value
        if node.op.op == "batchnorm":
            steps = np.array(7, dtype=np.int64)
            tensors[f"{prefix}{node.name}.num_batches_tracked"] = steps
    return tensors


CASES = [
    ("resnet20-a", None),
    ("resnet20", None),
    ("resnet20", QCFS(lam=np.float32(3), levels=8)),
    ("vgg16-single", Clip(lam=np.float32(2))),
]


@pytest.mark.parametrize(("name", "act"), CASES)
@pytest.mark.parametrize("prefix", ["", "module.", "net.module."])
def test_state_dict_gives_the_network_back(name: str, act: Any, prefix: str) -> None:
    ann = architectures.build(name, classes=10, activation=act, seed=3)
    levels = getattr(act, "levels", None)
    got = from_state_dict(state_dict(ann, prefix), name, levels=levels)
    for want, node in zip(ann.nodes, got.nodes, strict=True):
        assert (want.name, want.inputs, want.op.op) == (
            node.name,
            node.inputs,
            node.op.op,
        )
        for field in NAMES:
            assert np.array_equal(
                getattr(want.op, field, None), getattr(node.op, field, None)
            )


def test_defaults_of_option_a_networks_and_classes() -> None:
    ann = architectures.build("resnet20-a", classes=100)
    got = from_state_dict(state_dict(ann), "resnet20-a")
    assert got.classes == 100
    assert got.mean.tolist() == [0.485, 0.456, 0.406]
    assert got.std.tolist() == [0.229, 0.224, 0.225]


def test_every_key_that_does_not_fit_is_named() -> None:
    tensors = state_dict(architectures.build("resnet20", classes=10))
    tensors["conv2_x.0.extra"] = tensors.pop("conv2_x.0.residual_function.0.weight")
    tensors["conv1.1.bias"] = np.zeros(3, dtype=np.float32)
    with pytest.raises(ConversionError) as error:
        from_state_dict(tensors, "resnet20")
    text = str(error.value)
    for part in (
        "missing: conv2_x.0.residual_function.0.weight",
        "left over: conv2_x.0.extra",
        "conv1.1.bias of shape (3,), not (16,)",
    ):
        assert part in text
    with pytest.raises(ConversionError, match=r"0 tensors fc\.weight"):
        from_state_dict({"linear.weight": np.zeros((2, 3))}, "resnet20")


def test_clips_for_some_activations_only_are_refused() -> None:
    act = Clip(lam=np.float32(2))
    tensors = state_dict(architectures.build("resnet20", classes=10, activation=act))
    del tensors["conv1.2.thresh"]
    with pytest.raises(ConversionError, match="clips for some activations only"):
        from_state_dict(tensors, "resnet20")
    plain = state_dict(architectures.build("resnet20", classes=10))
    with pytest.raises(ConversionError, match="clips for some activations only"):
        from_state_dict(plain, "resnet20", levels=4)


def test_the_activation_that_one_repository_renamed_is_found() -> None:
    act = Clip(lam=np.float32(2))
    tensors = state_dict(architectures.build("resnet20", classes=10, activation=act))
    renamed = {k.replace(".relu.thresh", ".act.thresh"): v for k, v in tensors.items()}
    got = from_state_dict(renamed, "resnet20")
    assert all(node.op.op == "clip" for node in got.activations)


def test_other_tensors_of_an_activation_are_no_clips() -> None:
    ann = architectures.build("resnet20-calib", classes=10)
    for name in ("weight", "alpha", "slope"):
        tensors = state_dict(ann)
        for node in ann.activations:
            slopes = np.full(ann.shapes[node.name][0], 0.25, dtype=np.float32)
            tensors[f"{node.name}.{name}"] = slopes
        with pytest.raises(ConversionError, match=rf"left over: .*relu\.{name}"):
            from_state_dict(tensors, "resnet20-calib")
    for name in ("thresh", "threshold", "up", "lam"):
        tensors = state_dict(ann)
        for node in ann.activations:
            tensors[f"{node.name}.{name}"] = np.float32(2)
        got = from_state_dict(tensors, "resnet20-calib")
        assert {float(node.op.lam) for node in got.activations} == {2}


def test_the_size_of_the_images_may_be_given() -> None:
    small = architectures.build("mobilenet", classes=100, input_shape=(3, 32, 32))
    tensors = state_dict(small)
    assert from_state_dict(tensors, "mobilenet").input_shape == (3, 224, 224)
    got = from_state_dict(tensors, "mobilenet", input_shape=[3, 32, 32])
    assert (got.input_shape, got.macs()) == (small.input_shape, small.macs())
    for wrong in ((32, 32), (3, 0, 32), (3, 32, 32.5)):
        with pytest.raises(DomainError, match="input_shape: got"):
            from_state_dict(tensors, "mobilenet", input_shape=wrong)
    grey = architectures.build("resnet20-calib", classes=10, input_shape=(1, 28, 28))
    got = from_state_dict(state_dict(grey), "resnet20-calib", input_shape=(1, 28, 28))
    assert got.mean.tolist() == [0]


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ([], (3, 224, 224)),
        (["--data", "cifar100"], (3, 32, 32)),
        (["--data", "imagenet:anywhere"], (3, 224, 224)),
        (["--data", "cifar100", "--input-shape", "3,64,48"], (3, 64, 48)),
        (["--input-shape", "3 64 48"], (3, 64, 48)),
    ],
)
def test_input_shapes_on_the_command_line(
    refsnn, tmp_path: Path, options: list[str], shape: tuple[int, ...]
) -> None:
    tensors = state_dict(architectures.build("mobilenet", classes=100))
    np.savez(tmp_path / "a.npz", **tensors)
    out = tmp_path / "o.h5"
    command = ("import", tmp_path / "a.npz", "--arch", "mobilenet", "-o", out)
    assert refsnn(*command, *options).code == 0
    assert io.load_ann(out).input_shape == shape


@pytest.mark.parametrize("key", ["xlinear.weight", "a.b.linear.weight"])
def test_a_state_dict_of_prefixes_only_is_refused(key: str) -> None:
    with pytest.raises(ConversionError, match=r"missing: conv1\.weight"):
        from_state_dict({key: np.zeros((10, 64))}, "resnet20-a")


def stored(path: Path, member: bytes) -> Path:
    """An .npz file of one compressed member."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weight.npy", member)
    return path


def raw(shape: tuple[int, ...]) -> bytes:
    """An array's file: a header of any shape, and 1000 zeros."""
    buffer = BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + bytes(4000)


@pytest.mark.parametrize(
    ("member", "got"),
    [
        (b"no array", "holds weight, no array of numbers"),
        (raw((1000,))[:40], "ValueError"),
        (raw((1000,))[:400], "ValueError"),
        (raw((-1000,)), "ValueError"),
        (raw((10**13,)), "MemoryError|ValueError"),
        (raw((10**30,)), "Error"),
    ],
    ids=["no array", "header", "end", "negative", "large", "absurd"],
)
def test_damaged_arrays_are_refused(tmp_path: Path, member: bytes, got: str) -> None:
    path = stored(tmp_path / "a.npz", member)
    with pytest.raises(DataError, match=f"({got}).*nothing is unpickled"):
        read_state_dict(path)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.npz", raw((1000,)))
    whole = path.read_bytes()
    refused = set()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            assert read_state_dict(path)["weight"].size == 1000
        except DataError as error:
            refused.add(str(error.got).partition(":")[0])
    assert {"BadZipFile", "error"} <= refused  # zip's and zlib's


def test_texts_are_no_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", weight=np.array(["a", "b"]))
    with pytest.raises(DataError, match="holds weight, no array of numbers"):
        read_state_dict(tmp_path / "a.npz")


def test_state_dict_files(tmp_path: Path, refsnn) -> None:
    tensors = state_dict(architectures.build("resnet20-a", classes=10, seed=5))
    np.savez(tmp_path / "a.npz", **tensors)
    for name, separator in (("flat.h5", "."), ("nested.h5", "/")):
        with h5py.File(tmp_path / name, "w") as file:
            for key, value in tensors.items():
                file[key.replace(".", separator)] = value
    digests = set()
    for name in ("a.npz", "flat.h5", "nested.h5"):
        out = tmp_path / f"{name}.out.h5"
        options = ("--arch", "resnet20-a", "--name", "net", "-o", out)
        said = refsnn("import", tmp_path / name, *options)
        assert said.code == 0
        assert "wrote" in said.out
        ann = io.load_ann(out)
        assert ann.provenance["data"] == "cifar10"
        digests.add(
            b"".join(n.op.weight.tobytes() for n in ann.nodes if n.op.op == "conv2d")
        )
    assert len(digests) == 1


NEITHER = ("PK\x05\x06" + 18 * "\x00").encode("latin-1")  # an archive of nothing


def test_files_of_pytorch_are_recognised(tmp_path: Path, refsnn) -> None:
    with zipfile.ZipFile(tmp_path / "new.pt", "w") as archive:  # as torch.save writes
        archive.writestr("new/data.pkl", b"\x80\x02}q\x00.")
    old = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
    (tmp_path / "old.pt").write_bytes(old)
    (tmp_path / "other.zip").write_bytes(NEITHER)
    (tmp_path / "other.pkl").write_bytes(b"\x80\x02}q\x00.     ")
    for name in ("new.pt", "old.pt", "other.zip", "other.pkl"):
        path, out = tmp_path / name, tmp_path / "o.h5"
        for command in (("run", path, "-T", 2), ("import", path, "-o", out)):
            said = refsnn(*command)
            assert said.code == 2
            assert "expected an HDF5 file" in said.err
            for way in ("refsnn import --arch", "refsnn.exchange.from_torch"):
                assert (way in said.err) == name.endswith(".pt")


@pytest.mark.parametrize(
    ("mean", "std", "warned"),
    [
        ([125.3, 123.0, 113.9], [51.6, 51.6, 51.6], True),
        ([0.5, 0.5, -0.1], [0.2, 0.2, 0.2], True),
        ([0.5, 0.5, 0.5], [0.2, 0.2, 1.01], True),
        ([0.0, 0.5, 1.0], [1 / 255, 0.2, 1.0], False),
    ],
)
def test_a_normalisation_of_pixels_to_255_is_warned_of(
    tmp_path: Path, mean: list[float], std: list[float], warned: bool
) -> None:
    """Where a trained network comes in, and its file is read."""
    tensors = state_dict(architectures.build("resnet20-a", classes=10))
    k, kept = tmp_path / "k.h5", []
    two_convolutions().save(k, "keras 2")
    for make in (
        lambda: from_state_dict(tensors, "resnet20-a", mean=mean, std=std),
        lambda: from_keras(k, mean=mean, std=std),
        lambda: io.load_ann(tmp_path / "net.h5"),
    ):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            kept.append(make())
        texts = [str(warning.message) for warning in seen]
        assert len(texts) == warned
        assert all("divide those of pixels 0 to 255 by 255" in text for text in texts)
        assert all(warning.category is UserWarning for warning in seen)
        io.save(kept[0], tmp_path / "net.h5", force=True)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    np.savez(tmp_path / "a.npz", weight=np.array([Trap()], dtype=object))
    with pytest.raises(DataError, match="nothing is unpickled"):
        read_state_dict(tmp_path / "a.npz")
    assert not (tmp_path / "sprung").exists()
    (tmp_path / "b.npz").write_bytes(b"\x80\x04no zip")
    with pytest.raises(DataError, match="nothing is unpickled"):
        read_state_dict(tmp_path / "b.npz")
    with zipfile.ZipFile(tmp_path / "d.pth", "w") as archive:  # as torch.save writes
        archive.writestr("d/data.pkl", b"\x80\x02}q\x00.")
    with pytest.raises(DataError, match=r"holds d/data\.pkl.*weights_only=True"):
        read_state_dict(tmp_path / "d.pth")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["weight"] = h5py.ExternalLink("/etc/hostname", "x")
    with pytest.raises(FormatError, match="RSN-H5-008"):
        read_state_dict(tmp_path / "c.h5")


# --- Keras -----------------------------------------------------------------


class Keras:
    """A Keras model's layers, its file, and its arithmetic with channels last."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.layers: list[dict[str, Any]] = []
        self.tensors: dict[str, dict[str, np.ndarray]] = {}
        self.values: dict[str, np.ndarray] = {}

    def layer(self, kind: str, name: str, inputs: list[str], **config: Any) -> str:
        full = {"name": name, **config}
        self.layers.append(
            {"class_name": kind, "config": full, "name": name, "inputs": inputs}
        )
        return name

    def draw(self, layer: str, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
        drawn = {
            key: self.rng.standard_normal(shape).astype(np.float32)
            for key, shape in shapes.items()
        }
        if "moving_variance" in drawn:
            drawn["moving_variance"] = np.abs(drawn["moving_variance"]) + 0.5
        self.tensors[layer] = drawn
        (config,) = (x["config"] for x in self.layers if x["name"] == layer)
        for key, shape in shapes.items():
            if len(shape) == 4:
                config.setdefault("kernel_size", shape[:2])
                last = "filters" if key == "kernel" else "depth_multiplier"
                config.setdefault(last, shape[3])
            elif len(shape) == 2:
                config.setdefault("units", shape[1])
        return drawn

    def save(self, path: Path, notation: str) -> Path:
        layers = []
        for layer in self.layers:
            inputs = layer["inputs"]
            if notation == "keras 2":
                nodes: Any = [[[name, 0, 0, {}] for name in inputs]] if inputs else []
            else:
                args = [
                    {
                        "class_name": "__keras_tensor__",
                        "config": {"shape": [None], "keras_history": [name, 0, 0]},
                    }
                    for name in inputs
                ]
                args = [args] if len(args) > 1 else args
                nodes = [{"args": args, "kwargs": {}}] if inputs else []
            layers.append({**layer, "inbound_nodes": nodes})
        model: Any = {"class_name": "Functional", "config": {"layers": layers}}
        if notation == "sequential":
            model = {"class_name": "Sequential", "config": {"layers": layers}}
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = json.dumps(model)
            weights = file.create_group("model_weights")
            weights.attrs["layer_names"] = [layer["name"].encode() for layer in layers]
            for layer, tensors in self.tensors.items():
                for key, value in tensors.items():
                    data = weights.create_dataset(
                        f"{layer}/{layer}/{key}:0", data=value
                    )
                    data.attrs["note"] = "of a data set"
            file["optimizer_weights/Adam/conv/kernel:0"] = np.zeros((1, 1, 1, 1))
        return path


def same_padded(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """Pad as TensorFlow does for 'same': the odd row or column after the image."""
    pads = []
    for n in x.shape[1:3]:
        total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
        pads.append((total // 2, total - total // 2))
    return np.pad(x, ((0, 0), *pads, (0, 0)))


def conv_last(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Channels-last convolution of a padded input, depthwise if kernel is HWC1."""
    P, Q = kernel.shape[:2]
    H, W = ((n - k) // stride + 1 for n, k in zip(x.shape[1:3], (P, Q), strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(x, (P, Q), axis=(1, 2))
    windows = windows[:, ::stride, ::stride][:, :H, :W]
    return np.einsum("bhwcpq,pqco->bhwo", windows, kernel)


@pytest.mark.parametrize("notation", ["keras 2", "keras 3"])
def test_functional_keras_model(tmp_path: Path, notation: str) -> None:
    k = Keras(1)
    images = k.rng.standard_normal((3, 8, 6, 2))
    k.layer("InputLayer", "in", [], batch_input_shape=[None, 8, 6, 2])
    pad = {"dilation_rate": [1, 1], "padding": "same", "groups": 1}
    k.layer("Conv2D", "a", ["in"], strides=[2, 2], activation="relu", **pad)
    a = k.draw("a", kernel=(3, 3, 2, 4), bias=(4,))
    k.layer("BatchNormalization", "bn", ["a"], axis=[3], epsilon=0.001)
    bn = k.draw("bn", gamma=(4,), beta=(4,), moving_mean=(4,), moving_variance=(4,))
    k.layer("Activation", "act", ["bn"], activation="relu")
    k.layer("DepthwiseConv2D", "dw", ["act"], strides=[1, 1], use_bias=False, **pad)
    dw = k.draw("dw", depthwise_kernel=(3, 3, 4, 1))
    k.layer("Add", "sum", ["dw", "act"])
    k.layer("ReLU", "relu6", ["sum"], max_value=6.0, negative_slope=0.0, threshold=0.0)
    k.layer("ZeroPadding2D", "zero", ["relu6"], padding=[[1, 0], [0, 1]])
    valid = {**pad, "padding": "valid"}
    k.layer("Conv2D", "b", ["zero"], strides=[1, 1], activation="linear", **valid)
    b = k.draw("b", kernel=(2, 2, 4, 5), bias=(5,))
    pool = {"pool_size": [2, 1], "strides": [2, 1], "padding": "valid"}
    k.layer("AveragePooling2D", "pool", ["b"], **pool)
    k.layer("Flatten", "flat", ["pool"])
    k.layer("BatchNormalization", "bn1", ["flat"], axis=-1, epsilon=0.01)
    wide = (2 * 3 * 5,)
    bn1 = k.draw("bn1", gamma=wide, beta=wide, moving_mean=wide, moving_variance=wide)
    k.layer("Dropout", "drop", ["bn1"], rate=0.5)
    k.layer("Dense", "d", ["drop"], activation="softmax")
    d = k.draw("d", kernel=(*wide, 7), bias=(7,))

    def norm(x: np.ndarray, t: dict[str, np.ndarray], eps: float) -> np.ndarray:
        root = np.sqrt(t["moving_variance"] + np.float64(eps))
        return t["gamma"] * (x - t["moving_mean"]) / root + t["beta"]

    x = np.maximum(conv_last(same_padded(images, 3, 2), a["kernel"], 2) + a["bias"], 0)
    act = np.maximum(norm(x, bn, 0.001), 0)
    padded = same_padded(act, 3, 1)
    depth = np.concatenate(
        [
            conv_last(padded[..., [c]], dw["depthwise_kernel"][:, :, [c]], 1)
            for c in range(4)
        ],
        axis=-1,
    )
    x = np.clip(depth + act, 0, 6)
    x = np.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)))
    x = conv_last(x, b["kernel"], 1) + b["bias"]
    x = (x[:, ::2] + x[:, 1::2]) / 2
    x = norm(x.reshape(3, -1), bn1, 0.01)
    want = x @ d["kernel"].astype(np.float64) + d["bias"]

    ann = from_keras(k.save(tmp_path / "k.h5", notation))
    assert ann.input_shape == (2, 8, 6)
    assert ann["a"].op.padding == (0, 0, 1, 1)
    assert ann["a_activation"].op.op == "relu"
    got = run_ann(ann, images.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11)


def test_sequential_keras_model(tmp_path: Path) -> None:
    """Flatten comes with rows first and channels last."""
    k = Keras(2)
    k.layer(
        "Conv2D",
        "c",
        [],
        strides=[1, 1],
        padding="valid",
        activation="relu",
        batch_input_shape=[None, 4, 4, 1],
    )
    kernel = k.draw("c", kernel=(3, 3, 1, 2), bias=(2,))
    k.layer("Flatten", "f", [])
    k.layer("Dense", "d", [], activation="linear", use_bias=False)
    dense = k.draw("d", kernel=(8, 3))
    images = k.rng.standard_normal((2, 4, 4, 1))
    hidden = np.maximum(conv_last(images, kernel["kernel"], 1) + kernel["bias"], 0)
    want = hidden.reshape(2, 8) @ dense["kernel"].astype(np.float64)
    ann = from_keras(k.save(tmp_path / "k.h5", "sequential"), name="seq")
    got = run_ann(ann, images.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_keras_layers_without_counterpart_are_listed(tmp_path: Path) -> None:
    k = Keras(3)
    k.layer("InputLayer", "in", [], batch_input_shape=[None, 5, 5, 1])
    plain = {"strides": [1, 1], "padding": "same"}
    k.layer("Conv2D", "a", ["in"], activation="tanh", **plain)
    k.draw("a", kernel=(3, 3, 1, 2), bias=(2,))
    k.layer("LeakyReLU", "leaky", ["in"], alpha=0.1)
    k.layer(
        "MaxPooling2D", "p", ["in"], pool_size=[2, 2], strides=[2, 2], padding="same"
    )
    k.layer("ReLU", "slope", ["in"], max_value=None, negative_slope=0.2, threshold=0.0)
    k.layer("Rescaling", "scaled", ["in"], scale=1 / 255, offset=0.0)
    size = {"filters": 2, "kernel_size": [3, 3]}
    k.layer("Conv2D", "lost", ["in"], activation="relu", **size, **plain)
    k.layer("Flatten", "flat", ["a"])
    with pytest.raises(ConversionError) as error:
        from_keras(k.save(tmp_path / "k.h5", "keras 2"))
    text = str(error.value)
    assert "6 layers without a counterpart" in text
    for part in (
        "a (Conv2D): the activation tanh",
        "leaky (LeakyReLU): no layer in scope",
        "p (MaxPooling2D): padding in pooling",
        "slope (ReLU): a slope or threshold",
        "lost (Conv2D): no tensors kernel in the file",
        "Another activation: train with ReLU or a clip in its place.",
        "leave it out, and give it as mean and std",
    ):
        assert part in text


VALID = {"strides": [1, 1], "padding": "valid", "activation": "relu"}


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ({"class_name": "ReLU", "config": {"max_value": None}}, ReLU()),
        ({"class_name": "ReLU", "config": {"max_value": 6.0}}, Clip(lam=6.0)),
        ({"class_name": "function", "config": "relu"}, ReLU()),
        ({"class_name": "LeakyReLU", "config": {}}, "a .*: the activation LeakyReLU"),
        ({"class_name": "ReLU", "config": {"threshold": 1.0}}, "a slope or threshold"),
    ],
)
def test_keras_activations_that_are_layers(tmp_path, given: dict, want: Any) -> None:
    file = two_convolutions(activation=given).save(tmp_path / "k.h5", "keras 3")
    if isinstance(want, str):
        with pytest.raises(ConversionError, match=want):
            from_keras(file)
    else:
        assert type(from_keras(file).activations[0].op) is type(want)


@pytest.mark.parametrize(
    ("classes", "data"), [(10, "cifar10"), (100, "cifar100"), (7, "")]
)
def test_an_architecture_of_cifar_tells_its_data_set(
    refsnn, tmp_path: Path, classes: int, data: str
) -> None:
    ann = architectures.build("resnet20-a", classes=classes)
    np.savez(tmp_path / "a.npz", **state_dict(ann))
    command = ("import", tmp_path / "a.npz", "--arch", "resnet20-a")
    assert refsnn(*command, "-o", tmp_path / "o.h5").code == 0
    assert io.load_ann(tmp_path / "o.h5").provenance.get("data", "") == data


def two_convolutions(**first: Any) -> Keras:
    """Convolutions `a` and `c`, then a mean and a dense layer."""
    k = Keras(5)
    k.layer("InputLayer", "in", [], batch_input_shape=[None, 6, 6, 3])
    k.layer("Conv2D", "a", ["in"], **(VALID | first))
    k.draw("a", kernel=(3, 3, 3, 3), bias=(3,))
    k.layer("Conv2D", "c", ["a"], **VALID)
    k.draw("c", kernel=(3, 3, 3, 3), bias=(3,))
    k.layer("GlobalAveragePooling2D", "g", ["c"], data_format="channels_last")
    k.layer("Dense", "d", ["g"], activation="linear")
    k.draw("d", kernel=(3, 5), bias=(5,))
    return k


def test_a_layer_gets_its_own_tensors_only(tmp_path: Path) -> None:
    """Whatever the tensors are called below the layer: Keras keeps first names."""
    k = two_convolutions()
    path = k.save(tmp_path / "k.h5", "keras 2")
    with h5py.File(path, "r+") as file:
        file.move("model_weights/a/a", "model_weights/a/c")
    ann = from_keras(path)
    for name in "ac":
        want = k.tensors[name]["kernel"].transpose(3, 2, 0, 1)
        assert (ann[name].op.weight == want).all()
    with h5py.File(path, "r+") as file:
        file.copy("model_weights/a/c/kernel:0", "model_weights/a/kernel:0")
    with pytest.raises(ConversionError, match=r"a \(Conv2D\): 2 tensors kernel"):
        from_keras(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"filters": 4}, "kernel of shape (3, 3, 3, 3), not (3, 3, 3, 4)"),
        ({"kernel_size": [5, 3]}, "kernel of shape (3, 3, 3, 3), not (5, 3, 3, 3)"),
        ({"data_format": "channels_first"}, "a (Conv2D): channels first"),
    ],
)
def test_keras_tensors_fit_the_configuration(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = two_convolutions(**change).save(tmp_path / "k.h5", "keras 2")
    with pytest.raises(ConversionError) as error:
        from_keras(path)
    assert message in str(error.value)


@pytest.mark.parametrize("notation", ["keras 2", "keras 3"])
def test_a_keras_layer_that_is_called_twice_is_refused(
    tmp_path: Path, notation: str
) -> None:
    path = two_convolutions().save(tmp_path / "k.h5", notation)
    with h5py.File(path, "r+") as file:
        model = json.loads(file.attrs["model_config"])
        model["config"]["layers"][2]["inbound_nodes"] *= 2
        file.attrs["model_config"] = json.dumps(model)
    with pytest.raises(ConversionError, match=r"c \(Conv2D\): called more than once"):
        from_keras(path)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("Softmax", {"axis": -1}, "x (Softmax): a softmax that is not the last layer"),
        ("Flatten", {"data_format": "channels_first"}, "x (Flatten): channels first"),
        (
            "GlobalAveragePooling2D",
            {"data_format": "channels_first"},
            "x (GlobalAveragePooling2D): channels first",
        ),
    ],
)
def test_keras_layers_that_would_be_read_wrongly(
    tmp_path: Path, kind: str, options: dict[str, Any], message: str
) -> None:
    k = Keras(6)
    k.layer("InputLayer", "in", [], batch_input_shape=[None, 1, 1, 3])
    k.layer(kind, "x", ["in"], **options)
    k.layer("Flatten", "f", ["x"], data_format="channels_last")
    k.layer("Dense", "d", ["f"], activation="linear")
    k.draw("d", kernel=(3, 5), bias=(5,))
    with pytest.raises(ConversionError) as error:
        from_keras(k.save(tmp_path / "k.h5", "keras 2"))
    assert f"1 layers without a counterpart: {message}" in str(error.value)


def test_zero_padding_reaches_those_who_read_it(tmp_path: Path) -> None:
    """Through dropout too; and nobody who reads what it pads."""
    k = Keras(7)
    k.layer("InputLayer", "in", [], batch_input_shape=[None, 6, 6, 3])
    k.layer("ZeroPadding2D", "z", ["in"], padding=[[1, 1], [2, 0]])
    k.layer("Dropout", "drop", ["z"], rate=0.5)
    for name, source in (("plain", "in"), ("a", "z"), ("b", "drop")):
        k.layer("Conv2D", name, [source], **VALID)
        k.draw(name, kernel=(3, 3, 3, 4), bias=(4,))
        k.layer("GlobalAveragePooling2D", f"g_{name}", [name])
    k.layer("Add", "sum", ["g_plain", "g_a", "g_b"])
    ann = from_keras(k.save(tmp_path / "k.h5", "keras 2"))
    pads = {name: ann[name].op.padding for name in ("plain", "a", "b")}
    assert pads == {"plain": (0, 0), "a": (1, 2, 1, 0), "b": (1, 2, 1, 0)}
    k.layer("GlobalAveragePooling2D", "g", ["z"])
    with pytest.raises(ConversionError, match="in front of anything but a conv"):
        from_keras(k.save(tmp_path / "k.h5", "keras 2"))


def test_keras_layers_behind_the_last_node(tmp_path: Path) -> None:
    k = two_convolutions()
    k.layer("Dropout", "drop", ["g"], rate=0.5)
    with pytest.raises(ConversionError, match="d: the last node, but not the last la"):
        from_keras(k.save(tmp_path / "k.h5", "keras 2"))


def test_flattened_features_are_never_mixed_up(tmp_path: Path) -> None:
    """A sum with, or an output of, features in another order than Keras has them."""
    for mixed in (True, False):
        k = Keras(4)
        k.layer("InputLayer", "in", [], batch_input_shape=[None, 2, 3, 2])
        k.layer("Flatten", "f", ["in"])
        if mixed:
            k.layer("Dense", "d", ["f"], activation="linear")
            k.draw("d", kernel=(12, 12), bias=(12,))
            k.layer("Add", "s", ["f", "d"])
        with pytest.raises(ConversionError, match="flattened features"):
            from_keras(k.save(tmp_path / f"{mixed}.h5", "keras 2"))


def test_files_that_are_no_keras_model(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["weight"] = np.zeros(3)
    with pytest.raises(ConversionError, match="no attribute model_config"):
        from_keras(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.attrs["model_config"] = "{"
    with pytest.raises(ConversionError, match="a damaged one"):
        from_keras(tmp_path / "b.h5")


@pytest.mark.parametrize(
    "config",
    [
        {"layers": [{}]},
        {"layers": [{"class_name": "Conv2D", "config": 3, "name": "c"}]},
        {"layers": [{"class_name": "Dense", "config": {}, "name": "d"}]},
        {"layers": []},
        {},
    ],
)
def test_malformed_configurations_are_refused(tmp_path: Path, config: Any) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        model = {"class_name": "Functional", "config": config}
        file.attrs["model_config"] = json.dumps(model)
    with pytest.raises(ConversionError, match=r"malformed|without a counterpart"):
        from_keras(tmp_path / "a.h5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mean", "one"], "--mean: got 'one'"),
        (["--std", "1/0"], "--std: got '1/0'"),
        (["--std", "1e400 1 1"], "--std: got '1e400 1 1'"),
        (["--std", "1e999999999 1 1"], "--std: got '1e999999999 1 1'"),
        (["--mean", "nan 1 1"], "--mean: got 'nan 1 1'"),
        (["--input-shape", "3,32,32"], "--arch and a state dict"),
        (["--arch", "mobilenet", "--input-shape", "3,x"], "three integers"),
        (["--data", "nosuch"], "data set: got nosuch"),
        (["--levels", "4"], "--arch and a state dict"),
        (["--arch", "resnet21"], "resnet21"),
    ],
)
def test_import_refuses_bad_options(
    tmp_path: Path,
    refsnn,
    options: list[str],
    message: str,
) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    out = tmp_path / "o.h5"
    said = refsnn("import", tmp_path / "a.npz", *options, "-o", out)
    assert said.code == 2
    assert message in said.err
    assert not out.exists()


# --- networks trained by others ---------------------------------------------


def correct_of_500(ann: Network) -> int:
    data = datasets.load("cifar10", "test").head(500)
    return int((ann_predictions(ann, data) == data.labels).sum())


def test_a_resnet20_trained_by_others() -> None:
    """akamaster/pytorch_resnet_cifar10 (BSD-2): 91.73 % of all 10,000 images."""
    path = trained_by_others("relu-resnet20-cifar10.npz")
    ann = from_state_dict(read_state_dict(path), "resnet20-a")
    assert correct_of_500(ann) == 455


def test_a_keras_file_made_by_others() -> None:
    """mlcommons/tiny (Apache-2.0), raw pixels: 87.21 % of all 10,000 images."""
    path = trained_by_others("mlperf-tiny-resnet8-keras.h5")
    ann = from_keras(path, std=[1 / 255] * 3)
    assert ann.parameters == 78_186
    assert correct_of_500(ann) == 445
