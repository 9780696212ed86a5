"""Level 7: PyTorch, on the same weights. Needs the extra ``torch``."""

from __future__ import annotations

import numpy as np
import pytest

from nets import images, random_net
from refsnn import datasets, io
from refsnn.activations import QCFS, Clip, ReLU
from refsnn.layers import AvgPool, BatchNorm, Conv2d, Linear, MaxPool
from refsnn.network import Network
from refsnn.run import run_ann
from test_layers import CONVOLUTIONS

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")
functional = torch.nn.functional


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float64))


def torch_forward(ann: Network, x: np.ndarray) -> np.ndarray:
    """The network in PyTorch's own layers, float64."""
    values = {}
    for node in ann.nodes:
        op, ins = node.op, [values[name] for name in node.inputs]
        if node.op.op == "input":
            out = tensor(x)
        elif isinstance(op, Conv2d):
            bias = None if op.bias is None else tensor(op.bias)
            (p0, e0), (p1, e1) = op.pads
            padded = functional.pad(ins[0], (p1, e1, p0, e0))
            how = (op.stride, 0, op.dilation, op.groups)
            out = functional.conv2d(padded, tensor(op.weight), bias, *how)
        elif isinstance(op, Linear):
            bias = None if op.bias is None else tensor(op.bias)
            out = functional.linear(ins[0], tensor(op.weight), bias)
        elif isinstance(op, BatchNorm):
            stored = [tensor(a) for a in (op.mean, op.var, op.gamma, op.beta)]
            out = functional.batch_norm(ins[0], *stored, eps=op.eps)
        elif isinstance(op, AvgPool):
            out = functional.avg_pool2d(ins[0], op.kernel, op.stride)
        elif isinstance(op, MaxPool):
            out = functional.max_pool2d(ins[0], op.kernel, op.stride)
        elif isinstance(op, ReLU):
            out = functional.relu(ins[0])
        elif isinstance(op, (Clip, QCFS)):
            out = torch_activation(op, ins[0], tensor(op.lam))
        elif op.op == "globalavgpool":
            out = ins[0].mean(dim=(2, 3))
        elif op.op == "add":
            out = sum(ins)
        elif op.op == "flatten":
            out = ins[0].flatten(1)
        values[node.name] = out
    return out.numpy()


def torch_activation(
    op: Clip | QCFS, z: torch.Tensor, lam: torch.Tensor
) -> torch.Tensor:
    """Clip and QCFS as released code writes them, straight through the floor."""
    if isinstance(op, Clip):
        return torch.minimum(functional.relu(z), lam)
    level = z / lam * op.levels + 0.5
    level = level + (level.floor() - level).detach()
    return torch.clamp(level / op.levels, 0, 1) * lam


def test_networks_agree_with_pytorch() -> None:
    """Within n 2^-53 relatively a layer; 1e-12 leaves room for the deepest path."""
    for seed in range(3):
        ann = random_net(seed, lambda lam: Clip(lam=lam))
        x = ann.preprocess(images(seed, 6))
        want = torch_forward(ann, x)
        np.testing.assert_allclose(run_ann(ann, x), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["qcfs", "clip", "relu"])
def test_shipped_networks_predict_as_in_pytorch(name: str) -> None:
    ann = io.load_ann(datasets.weights_folder() / f"digits_{name}.h5")
    x = ann.preprocess(datasets.load("digits", "test").images)
    want = torch_forward(ann, x).argmax(axis=1)
    assert (run_ann(ann, x).argmax(axis=1) == want).all()


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_agree_with_pytorch_on_a_grid(
    name: str, rng: np.random.Generator
) -> None:
    shape, kernel, stride, padding, dilation, groups = CONVOLUTIONS[name]
    weight = rng.integers(-8, 9, kernel) / 8
    x = rng.integers(-8, 9, (2, *shape)) / 8
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    p0, p1, e0, e1 = padding if len(padding) == 4 else 2 * padding
    padded = functional.pad(tensor(x), (p1, e1, p0, e0))
    want = functional.conv2d(padded, tensor(weight), **(how | {"padding": 0})).numpy()
    assert (Conv2d(weight=weight, **how)(x) == want).all()


@pytest.mark.parametrize("op", [Clip(lam=1.5), QCFS(lam=1.5, levels=4), ReLU()])
def test_gradients_are_those_of_automatic_differentiation(
    op: object, rng: np.random.Generator
) -> None:
    """Away from the kinks, where a derivative is a convention."""
    values = rng.uniform(-1, 2.5, (1, 200))
    z = tensor(values).requires_grad_()
    if isinstance(op, ReLU):
        functional.relu(z).sum().backward()
        assert (op.gradient(values)[0] == z.grad.numpy()).all()
        return
    lam = torch.full((1, 200), op.lam.item(), dtype=torch.float64, requires_grad=True)
    torch_activation(op, z, lam).sum().backward()
    gradient = op.gradient_code if isinstance(op, QCFS) else op.gradient
    dz, dlam = gradient(values)
    assert np.allclose(dz, z.grad.numpy(), rtol=0, atol=1e-14)
    assert np.allclose(dlam, lam.grad.numpy(), rtol=0, atol=1e-14)
