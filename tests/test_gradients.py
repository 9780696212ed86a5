"""Gradients of linear maps: by hand, against finite differences, against autograd."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nets import dyadic
from refsnn.layers import (
    Conv2d,
    Identity,
    Linear,
    LinearMap,
    SumPool,
    product,
    vjp,
)

SHAPES: dict[str, tuple] = {
    "conv": ((6, 4, 3, 3), (4, 7, 6), {"padding": (1, 1)}),
    "conv, strided": ((6, 4, 3, 2), (4, 8, 7), {"stride": (2, 3)}),
    "conv, dilated": ((4, 2, 3, 3), (2, 9, 8), {"dilation": (2, 3)}),
    "conv, groups": ((6, 2, 3, 3), (4, 6, 6), {"groups": 2, "padding": (1, 0)}),
    "conv, uneven": ((3, 2, 2, 2), (2, 5, 5), {"padding": (1, 0, 2, 1)}),
}


def maps(rng: np.random.Generator) -> dict[str, tuple[LinearMap, tuple[int, ...]]]:
    convs = {
        name: (Conv2d(weight=dyadic(rng, weight), **how), shape)
        for name, (weight, shape, how) in SHAPES.items()
    }
    return {
        **convs,
        "linear": (Linear(weight=dyadic(rng, (5, 12))), (12,)),
        "linear, of maps": (Linear(weight=dyadic(rng, (5, 12))), (3, 2, 2)),
        "identity": (Identity(weight=dyadic(rng, 3)), (3, 4, 5)),
        "identity, flat": (Identity(weight=dyadic(rng, 12), flatten=True), (3, 2, 2)),
    }


NAMES = list(maps(np.random.default_rng(0)))


def test_a_convolution_by_hand() -> None:
    """x = 1 2 3, W = 4 5: y = 14 23; g = 1 10 gives W^T g = 4 45 50, dW = 21 32."""
    op = Conv2d(weight=np.array([[[[4.0, 5.0]]]]))
    x, g = np.array([[[[1.0, 2.0, 3.0]]]]), np.array([[[[1.0, 10.0]]]])
    dx, dW = vjp(op, x, g)
    assert product(op, x).tolist() == [[[[14, 23]]]]
    assert dx.tolist() == [[[[4, 45, 50]]]]
    assert dW.tolist() == [[[[21, 32]]]]


@pytest.mark.parametrize("name", NAMES)
def test_products_are_the_map_on_a_grid(name: str, rng: np.random.Generator) -> None:
    op, shape = maps(rng)[name]
    x = dyadic(rng, (3, *shape))
    assert (product(op, x) == op(x)).all()
    assert product(op, x.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_the_transpose(name: str, rng: np.random.Generator) -> None:
    """<g, W x> = <W^T g, x> = <dW, W>: exact on a grid."""
    op, shape = maps(rng)[name]
    x = dyadic(rng, (3, *shape))
    y = op(x)
    g = dyadic(rng, y.shape)
    dx, dW = vjp(op, x, g)
    assert dx.shape == x.shape
    assert dW.shape == op.weight.shape
    assert (g * y).sum() == (dx * x).sum() == (dW * op.weight).sum()


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_the_slope(name: str, rng: np.random.Generator) -> None:
    """Of L = <g, W x>, by differences of one element; exact, since L is linear."""
    op, shape = maps(rng)[name]
    x = dyadic(rng, (2, *shape))
    g = dyadic(rng, op(x).shape)
    dx, dW = vjp(op, x, g)
    start = (g * op(x)).sum()
    for _ in range(20):
        i = tuple(int(rng.integers(n)) for n in x.shape)
        moved = x.copy()
        moved[i] += 0.25
        assert (g * op(moved)).sum() - start == 0.25 * dx[i]
        j = tuple(int(rng.integers(n)) for n in op.weight.shape)
        weight = op.weight.copy()
        weight[j] += 0.25
        again = dataclasses.replace(op, weight=weight)
        assert (g * again(x)).sum() - start == 0.25 * dW[j]


def test_sums_over_windows_that_overlap(rng: np.random.Generator) -> None:
    pool = SumPool(kernel=(3, 2), stride=(2, 1))
    x = dyadic(rng, (2, 3, 8, 5))
    g = dyadic(rng, pool(x).shape)
    dx = pool.vjp(g, x.shape[1:])
    assert (g * pool(x)).sum() == (dx * x).sum()
    assert (dx[:, :, 7] == 0).all()  # no window reaches the last row


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_autograd(name: str, rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra torch")
    op, shape = maps(rng)[name]
    x = dyadic(rng, (3, *shape))
    tx, tW = (
        torch.from_numpy(a.copy()).requires_grad_() for a in (x, np.asarray(op.weight))
    )
    if isinstance(op, Conv2d):
        padding = op.padding if len(op.padding) == 2 else (0, 0)
        (top, bottom), (left, right) = op.pads
        framed = tx
        if len(op.padding) == 4:
            framed = torch.nn.functional.pad(tx, (left, right, top, bottom))
        y = torch.nn.functional.conv2d(
            framed,
            tW,
            stride=op.stride,
            padding=padding,
            dilation=op.dilation,
            groups=op.groups,
        )
    elif isinstance(op, Linear):
        y = tx.flatten(1) @ tW.T
    else:
        flat = tx.flatten(1) if op.flatten else tx
        y = flat * tW.reshape(1, -1, *[1] * (flat.ndim - 2))
    g = dyadic(rng, tuple(y.shape))
    y.backward(torch.from_numpy(g))
    dx, dW = vjp(op, x, g)
    assert (dx == tx.grad.numpy()).all()
    assert (dW == tW.grad.numpy()).all()
