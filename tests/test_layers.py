"""Every linear map against a sparse matrix that is built independently."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse

from nets import dyadic, same
from refsnn.errors import DomainError, ShapeError
from refsnn.layers import (
    Add,
    AvgPool,
    BatchNorm,
    Conv2d,
    GlobalAvgPool,
    Identity,
    Linear,
    LinearMap,
    MaxPool,
    SumPool,
)
from refsnn.network import Projection

# shape of x, (O, I / groups, kernel), stride, padding, dilation, groups
CONVOLUTIONS = {
    "plain": ((3, 5, 5), (4, 3, 3, 3), (1, 1), (0, 0), (1, 1), 1),
    "same": ((2, 5, 4), (3, 2, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    "stride": ((2, 7, 6), (3, 2, 3, 3), (2, 2), (1, 1), (1, 1), 1),
    "stride, wide": ((2, 3, 16), (3, 2, 3, 3), (1, 2), (1, 1), (1, 1), 1),
    "uneven": ((2, 6, 9), (3, 2, 2, 5), (1, 3), (0, 2), (1, 1), 1),
    "dilation": ((2, 8, 9), (3, 2, 3, 2), (1, 2), (2, 1), (2, 3), 1),
    "dilation beyond the map": ((2, 2, 2), (3, 2, 3, 3), (1, 1), (2, 2), (2, 2), 1),
    "groups": ((4, 5, 5), (6, 2, 3, 3), (1, 1), (1, 1), (1, 1), 2),
    "depthwise": ((4, 5, 6), (4, 1, 3, 3), (2, 1), (1, 1), (1, 1), 4),
    "pointwise": ((5, 3, 3), (2, 5, 1, 1), (1, 1), (0, 0), (1, 1), 1),
    "shortcut": ((2, 5, 5), (4, 2, 1, 1), (2, 2), (0, 0), (1, 1), 1),
    "padding beyond the kernel": ((1, 2, 2), (2, 1, 2, 2), (1, 1), (3, 3), (1, 1), 1),
    "stride beyond the kernel": ((2, 7, 7), (2, 2, 2, 2), (4, 3), (0, 1), (1, 1), 1),
    "one-sided": ((2, 6, 5), (3, 2, 3, 3), (2, 2), (0, 0, 1, 1), (1, 1), 1),
    "uneven ends": ((4, 5, 7), (2, 2, 2, 3), (1, 2), (2, 0, 1, 3), (2, 1), 2),
    "everything": ((6, 9, 8), (9, 2, 3, 2), (2, 3), (2, 1), (2, 2), 3),
}


def conv_matrix(
    weight: np.ndarray,
    shape: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, ...],
    dilation: tuple[int, int],
    groups: int,
) -> scipy.sparse.csr_array:
    """Scatter: visit every input site and find the outputs it reaches."""
    C, H, W = shape
    O, I, P, Q = weight.shape
    height = H + padding[0] + padding[-2]
    width = W + padding[1] + padding[-1]
    rows = (height - dilation[0] * (P - 1) - 1) // stride[0] + 1
    columns = (width - dilation[1] * (Q - 1) - 1) // stride[1] + 1
    matrix = scipy.sparse.lil_array((O * rows * columns, C * H * W))
    for c, i, j, o in itertools.product(range(C), range(H), range(W), range(O)):
        if c // I != o // (O // groups):
            continue
        for p, q in itertools.product(range(P), range(Q)):
            row, rest = divmod(i + padding[0] - p * dilation[0], stride[0])
            column, left = divmod(j + padding[1] - q * dilation[1], stride[1])
            if rest or left or not (0 <= row < rows and 0 <= column < columns):
                continue
            target = (o * rows + row) * columns + column
            matrix[target, (c * H + i) * W + j] = weight[o, c % I, p, q]
    return scipy.sparse.csr_array(matrix)


def map_and_matrix(
    name: str, draw: object
) -> tuple[LinearMap, scipy.sparse.csr_array, tuple[int, ...]]:
    """A linear map with drawn weights, its matrix, and the shape of its input."""
    if name == "linear":
        weight = draw((5, 12))
        return Linear(weight=weight), scipy.sparse.csr_array(weight), (3, 2, 2)
    if name == "identity":
        weight = draw((3,))
        full = np.repeat(weight, 4)
        return Identity(weight=weight), scipy.sparse.csr_array(np.diag(full)), (3, 2, 2)
    shape, kernel, stride, padding, dilation, groups = CONVOLUTIONS[name]
    weight = draw(kernel)
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return Conv2d(weight=weight, **how), conv_matrix(weight, shape, **how), shape


MAPS = [*CONVOLUTIONS, "linear", "identity"]


@pytest.mark.parametrize("name", MAPS)
def test_map_is_its_matrix_on_a_grid(name: str, rng: np.random.Generator) -> None:
    op, matrix, shape = map_and_matrix(name, lambda s: dyadic(rng, s))
    x = dyadic(rng, (3, *shape))
    want = (matrix @ x.reshape(3, -1).T).T
    got = op(x)
    assert got.shape == (3, *op.out_shape(shape))
    assert (got.reshape(3, -1) == want).all()
    assert np.abs(want).max() > 0


@pytest.mark.parametrize("name", MAPS)
def test_terms_are_added_in_ascending_order_of_the_input(
    name: str, rng: np.random.Generator
) -> None:
    """On any numbers: one at a time, left to right, from the sums already begun."""
    op, matrix, shape = map_and_matrix(name, rng.standard_normal)
    matrix.sort_indices()
    x = rng.standard_normal((2, *shape))
    begun = rng.standard_normal((2, matrix.shape[0]))
    want = begun.copy()
    flat = x.reshape(2, -1)
    for m, row in np.ndindex(want.shape):
        for k in range(matrix.indptr[row], matrix.indptr[row + 1]):
            want[m, row] += matrix.data[k] * flat[m, matrix.indices[k]]
    got = op.accumulate(begun.reshape(2, *op.out_shape(shape)), x)
    assert same(got.reshape(2, -1), want)


@pytest.mark.parametrize("name", MAPS)
def test_fan_out_counts_the_synapses(name: str) -> None:
    op, matrix, shape = map_and_matrix(name, np.ones)
    want = np.diff(scipy.sparse.csc_array(matrix).indptr).reshape(shape)
    got = op.fan_out(shape)
    assert got.dtype == np.int64
    assert (got == want).all()
    assert got.sum() <= op.macs(shape)


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("plain", 4 * 3 * 9 * 3 * 3),  # outputs 3x3, each 27 taps, 4 channels
        ("same", 3 * 2 * 9 * 5 * 4),
        ("groups", 6 * 2 * 9 * 5 * 5),
        ("linear", 60),
        ("identity", 12),
    ],
)
def test_macs_count_padding_taps(name: str, macs: int) -> None:
    op, _, shape = map_and_matrix(name, np.ones)
    assert op.macs(shape) == macs


@pytest.mark.parametrize(
    "pools",
    [
        [((2, 2), (2, 2))],
        [((3, 2), (1, 2))],  # windows that overlap
        [((2, 2), (3, 3))],  # sites that no window holds
        [((2, 2), (2, 2)), ((2, 1), (1, 1))],
    ],
)
def test_fan_out_through_pooling(pools: list[tuple[tuple[int, int], ...]]) -> None:
    """Count the paths spike -> window -> synapse, one input element at a time."""
    conv = Conv2d(weight=np.ones((3, 2, 2, 2)), padding=(1, 0))
    pool = tuple(SumPool(kernel=k, stride=s) for k, s in pools)
    projection = Projection(source="x", op=conv, pool=pool)
    shape = (2, 9, 8)
    want = np.empty(shape, dtype=np.int64)
    for index in np.ndindex(shape):
        one = np.zeros((1, *shape), dtype=np.int8)
        one[(0, *index)] = 1
        want[index] = conv(projection.pooled(one)).sum()
    assert (projection.fan_out(shape) == want).all()
    assert projection.divisor == np.prod([np.prod(k) for k, _ in pools])


def window_matrix(
    shape: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int]
) -> scipy.sparse.csr_array:
    """Ones where an input element lies in a window; sites listed by element."""
    C, H, W = shape
    rows = len(range(0, H - kernel[0] + 1, stride[0]))
    columns = len(range(0, W - kernel[1] + 1, stride[1]))
    matrix = scipy.sparse.lil_array((C * rows * columns, C * H * W))
    for c, i, j in np.ndindex(shape):
        for row, column in np.ndindex(rows, columns):
            top, left = row * stride[0], column * stride[1]
            if 0 <= i - top < kernel[0] and 0 <= j - left < kernel[1]:
                matrix[(c * rows + row) * columns + column, (c * H + i) * W + j] = 1
    return scipy.sparse.csr_array(matrix)


@pytest.mark.parametrize(
    ("kernel", "stride"),
    [((2, 2), (2, 2)), ((3, 2), (1, 2)), ((2, 2), (3, 3)), ((1, 4), (2, 1))],
)
def test_pooling_is_its_matrix(
    kernel: tuple[int, int], stride: tuple[int, int], rng: np.random.Generator
) -> None:
    shape, how = (3, 7, 8), {"kernel": kernel, "stride": stride}
    matrix = window_matrix(shape, kernel, stride)
    spikes = rng.integers(-1, 2, (2, *shape)).astype(np.int8)
    analog = dyadic(rng, (2, *shape))
    for x in (spikes, analog):
        want = (matrix @ x.reshape(2, -1).T).T
        assert (SumPool(**how)(x).reshape(2, -1) == want).all()
        size = kernel[0] * kernel[1]
        assert (AvgPool(**how)(x).reshape(2, -1) == want / size).all()


def test_global_pooling_is_its_matrix(rng: np.random.Generator) -> None:
    x = dyadic(rng, (2, 3, 4, 5))
    matrix = window_matrix((3, 4, 5), (4, 5), (4, 5))
    assert (GlobalAvgPool()(x) == (matrix @ x.reshape(2, -1).T).T / 20).all()


def test_normalisation_is_a_diagonal_matrix(rng: np.random.Generator) -> None:
    """scale x + (beta - scale mean), exactly for powers of two."""
    norm = BatchNorm(
        gamma=[2.0, 0.5, -1.0],
        beta=[0.25, 0.0, 1.0],
        mean=[1.0, -0.5, 0.25],
        var=[4 - 2.0**-8, 1 - 2.0**-8, 0.25 - 2.0**-8],
        eps=2.0**-8,
    )
    scale = np.repeat([1.0, 0.5, -2.0], 4)
    shift = np.repeat([0.25 - 1.0, 0.25, 1.5], 4)
    x = dyadic(rng, (2, 3, 2, 2))
    want = (scipy.sparse.diags_array(scale) @ x.reshape(2, -1).T).T + shift
    assert (norm(x).reshape(2, -1) == want).all()


def test_average_is_the_sum_divided_once(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 6, 6))
    how = {"kernel": (3, 3), "stride": (3, 3)}
    total = np.zeros((2, 3, 2, 2))
    for p, q in itertools.product(range(3), range(3)):
        total = total + x[:, :, p::3, q::3]
    assert same(AvgPool(**how)(x), total / 9)
    assert same(GlobalAvgPool()(x), AvgPool(kernel=(6, 6), stride=(6, 6))(x)[..., 0, 0])


@pytest.mark.parametrize("name", ["plain", "groups", "linear", "identity"])
def test_normalised_weights_by_loops(name: str, rng: np.random.Generator) -> None:
    """W' = (W theta_in) / (k^2 theta_out), per channel, in this order."""
    op, _, shape = map_and_matrix(name, rng.standard_normal)
    theta_in = rng.uniform(0.5, 2, shape[0])
    theta_out = rng.uniform(0.5, 2, len(op.weight))
    got = op.normalised(theta_in, 9, theta_out).weight
    want = np.empty_like(op.weight)
    groups = getattr(op, "groups", 1)
    for index in np.ndindex(want.shape):
        o = index[0]
        if name == "linear":
            source = index[1] // 4  # 4 elements a channel
        elif name == "identity":
            source = o
        else:
            source = o // (len(want) // groups) * want.shape[1] + index[1]
        want[index] = (op.weight[index] * theta_in[source]) / (9 * theta_out[o])
    assert same(got, want)


REFUSED = {
    "channels": lambda: Conv2d(weight=np.ones((1, 2, 3, 3))).out_shape((3, 8, 8)),
    "not a map": lambda: Conv2d(weight=np.ones((1, 2, 3, 3))).out_shape((2,)),
    "kernel": lambda: Conv2d(weight=np.ones((1, 2, 3, 3))).out_shape((2, 2, 8)),
    "groups": lambda: Conv2d(weight=np.ones((3, 2, 3, 3)), groups=2),
    "bias": lambda: Conv2d(weight=np.ones((3, 2, 3, 3)), bias=np.ones(2)),
    "linear": lambda: Linear(weight=np.ones((3, 4))).out_shape((2, 3)),
    "linear bias": lambda: Linear(weight=np.ones((3, 4)), bias=np.ones(4)),
    "weight": lambda: Conv2d(weight=np.ones((3, 4))),
    "empty": lambda: Linear(weight=np.ones((0, 4))),
    "identity": lambda: Identity(weight=np.ones(2)).out_shape((3, 2, 2)),
    "window": lambda: AvgPool(kernel=(3, 3)).out_shape((1, 2, 4)),
    "flat window": lambda: MaxPool().out_shape((4,)),
    "add": lambda: Add().out_shape((2, 2, 2), (2, 2, 3)),
    "add one": lambda: Add().out_shape((2, 2, 2)),
    "norm": lambda: BatchNorm(gamma=[1], beta=[1], mean=[1], var=[1]).out_shape(
        (2, 1, 1)
    ),
    "norms": lambda: BatchNorm(gamma=[1], beta=[1, 1], mean=[1], var=[1]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_shapes_that_do_not_fit_are_refused(name: str) -> None:
    with pytest.raises(ShapeError, match="expected"):
        REFUSED[name]()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Conv2d(weight=np.ones((1, 1, 1, 1)), stride=(0, 1)),
        lambda: Conv2d(weight=np.ones((1, 1, 1, 1)), stride=2),
        lambda: Conv2d(weight=np.ones((1, 1, 1, 1)), padding=(-1, 0)),
        lambda: Conv2d(weight=np.ones((1, 1, 1, 1)), padding=(1, 1, 7, 1, 1)),
        lambda: Conv2d(weight=np.ones((1, 1, 1, 1)), groups=True),
        lambda: Conv2d(weight=np.full((1, 1, 1, 1), np.nan)),
        lambda: Conv2d(weight=np.full((1, 1, 1, 1), np.inf)),
        lambda: Conv2d(weight="weights"),
        lambda: Conv2d(weight=np.ones((1, 1, 1, 1), dtype=np.float16)),
        lambda: BatchNorm(gamma=[1], beta=[1], mean=[1], var=[-0.5], eps=1.0),
        lambda: BatchNorm(gamma=[1], beta=[1], mean=[1], var=[0.0], eps=0.0),
        lambda: BatchNorm(gamma=[1], beta=[1], mean=[1], var=[1], eps="small"),
    ],
)
def test_values_out_of_their_domain_are_refused(make: object) -> None:
    with pytest.raises(DomainError, match="expected"):
        make()


def test_ragged_weights_are_refused() -> None:
    with pytest.raises(ShapeError, match="unequal parts"):
        Linear(weight=[[1.0], [1.0, 2.0]])


def test_a_read_only_view_is_copied_too() -> None:
    weight = np.ones((1, 1))
    view = weight.view()
    view.flags.writeable = False
    linear = Linear(weight=view)
    weight[0, 0] = 7
    assert linear.weight[0, 0] == 1


def test_arrays_in_records_cannot_be_written_to() -> None:
    weight = np.ones((1, 1))
    linear = Linear(weight=weight)
    weight[0, 0] = 7
    assert linear.weight[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        linear.weight[0, 0] = 7
