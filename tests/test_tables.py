"""Level 1: hand-worked tables. The arithmetic stands beside each case."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nets import constant_count
from refsnn import neurons
from refsnn.activations import QCFS, Clip, ReLU
from refsnn.errors import DomainError, OptionError
from refsnn.layers import AvgPool, BatchNorm, Conv2d, Linear, MaxPool, SumPool
from refsnn.neurons import (
    IF,
    PRESETS,
    DualThresholdIF,
    GatedIF,
    Neuron,
    initial_state,
    unroll,
)
from refsnn.numerics import floor_half_up
from refsnn.records import tensor

EPS = 2.0**-53  # spacing of float64 just below 1
SMALL = -(2.0**-10)  # a small negative threshold on the grid


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One neuron, one train of currents, and what must come out."""

    name: str
    neuron: neurons.Neuron
    x: list[float]
    s: list[int]
    v: float
    v0: float = 0.0
    theta: float = 1.0


def dual(theta_neg: float = SMALL, **how: bool) -> DualThresholdIF:
    return DualThresholdIF(theta_neg=theta_neg, **how)


# In the comments "a>b" is: potential a after the charge, b after the reset.
CASES = [
    # -- integrate and fire ----------------------------------------------------------
    # 0+1 = 1 >= 1: 1>0
    Case(name="equality fires", neuron=IF(), x=[1], s=[1], v=0),
    # 1-2^-53 < 1
    Case(name="just below rests", neuron=IF(), x=[1 - EPS], s=[0], v=1 - EPS),
    # 1+2^-52 >= 1: > 2^-52
    Case(name="just above fires", neuron=IF(), x=[1 + 2 * EPS], s=[1], v=2 * EPS),
    # 1/2; 1>0; 1/2; 1>0
    Case(name="half the threshold", neuron=IF(), x=[0.5] * 4, s=[0, 1, 0, 1], v=0),
    # 1/2+1/2 = 1>0; 1/2; 1>0; 1/2
    Case(name="and v0", neuron=IF(), v0=0.5, x=[0.5] * 4, s=[1, 0, 1, 0], v=0.5),
    # 3/4; 1>0; 1/4; 1/2
    Case(name="a quarter", neuron=IF(), v0=0.5, x=[0.25] * 4, s=[0, 1, 0, 0], v=0.5),
    # 3>2; 2+3 = 5>4: one spike a step, the rest stays
    Case(name="saturation", neuron=IF(), x=[3, 3], s=[1, 1], v=4),
    # 1/2; 1/2; 1/2
    Case(name="no input", neuron=IF(), v0=0.5, x=[0, 0, 0], s=[0, 0, 0], v=0.5),
    # -2; -4: no lower bound
    Case(name="no lower bound", neuron=IF(), x=[-2, -2], s=[0, 0], v=-4),
    # 1>0; 1>0; -2: sum 0, yet two spikes
    Case(name="uneven, too many", neuron=IF(), x=[1, 1, -2], s=[1, 1, 0], v=-2),
    # 0; 0; 2>1: sum 2, one spike, a whole threshold left
    Case(name="uneven, too few", neuron=IF(), x=[0, 0, 2], s=[0, 0, 1], v=1),
    # W = 3/2, input spikes at steps 3 and 4: 0; 0; 3/2>1/2; 2>1. QCFS (ICLR 2022,
    # submission), the second of its worked patterns: z T = 3, N = 2, v(T) = theta
    Case(name="QCFS example", neuron=IF(), x=[0, 0, 1.5, 1.5], s=[0, 0, 1, 1], v=1),
    # theta 2: 1+1 = 2>0; 1; 2>0
    Case(name="theta 2", neuron=IF(), theta=2, v0=1, x=[1] * 3, s=[1, 0, 1], v=0),
    # theta 1/2: 1/2>0; 1/4; 1/2>0; 1/4
    Case(
        name="theta 1/2",
        neuron=IF(),
        theta=0.5,
        v0=0.25,
        x=[0.25] * 4,
        s=[1, 0, 1, 0],
        v=0.25,
    ),
    # 1/2+1/2 = 1>0
    Case(name="T=1", neuron=IF(), v0=0.5, x=[0.5], s=[1], v=0),
    # 1/2 + (1/2 - 2^-54) = 1 - 2^-54, half way between 1 - 2^-53 and 1, rounds to the
    # even one, 1: fires. In real arithmetic it would not; the sum is defined in float64
    Case(name="rounded charge", neuron=IF(), v0=0.5, x=[0.5 - EPS / 2], s=[1], v=0),
    # -1+1 = 0; 1>0; 1>0
    Case(name="v0 below 0", neuron=IF(), v0=-1, x=[1] * 3, s=[0, 1, 1], v=0),
    # 3/2>1/2; 1/2
    Case(name="v0 above theta", neuron=IF(), v0=1.5, x=[0, 0], s=[1, 0], v=0.5),
    # 1>0; 0
    Case(name="v0 at theta", neuron=IF(), v0=1, x=[0, 0], s=[1, 0], v=0),
    # 3/2>1/2; -1/2; 3/2>1/2 (compare "creates under-firing")
    Case(name="1, -1, 2", neuron=IF(), v0=0.5, x=[1, -1, 2], s=[1, 0, 1], v=0.5),
    # -- dual threshold --------------------------------------------------------------
    # 1>0; 1/2: no negative spike without cause
    Case(name="like IF", neuron=dual(), v0=0.5, x=[0.5] * 2, s=[1, 0], v=0.5),
    # 1 >= 1: 1>0
    Case(name="dual, equality fires", neuron=dual(), x=[1], s=[1], v=0),
    # 1-2^-53 < 1
    Case(name="dual, just below", neuron=dual(), x=[1 - EPS], s=[0], v=1 - EPS),
    # 3/2>1/2; -1/2 <= theta_neg, N = 1: > 1/2
    Case(name="takes back", neuron=dual(), v0=0.5, x=[1, -1], s=[1, -1], v=0.5),
    # -1/2 with N = 0; -3/2 with N = 0: nothing to take back
    Case(name="guard", neuron=dual(), v0=0.5, x=[-1, -1], s=[0, 0], v=-1.5),
    # 3/2>1/2; -1/4 <= -1/4: > 3/4
    Case(name="tie below", neuron=dual(-0.25), v0=0.5, x=[1, -0.75], s=[1, -1], v=0.75),
    # 3/2>1/2; 1/2 - 3/4 + 2^-53 = -1/4 + 2^-53 > -1/4
    Case(
        name="just above the tie",
        neuron=dual(-0.25),
        v0=0.5,
        x=[1, -0.75 + EPS],
        s=[1, 0],
        v=-0.25 + EPS,
    ),
    # 3/2>1/2; -1/2>1/2 by -1; 5/2>3/2: one spike short of IF's two, a threshold left
    Case(
        name="creates under-firing",
        neuron=dual(),
        v0=0.5,
        x=[1, -1, 2],
        s=[1, -1, 1],
        v=1.5,
    ),
    # 3/2>1/2; 3/2>1/2; -3/2>-1/2 by -1, N = 1; -3/2>-1/2 by -1, N = 0; -3/2 stays
    Case(
        name="as many as were emitted",
        neuron=dual(),
        v0=0.5,
        x=[1, 1, -2, -1, -1],
        s=[1, 1, -1, -1, 0],
        v=-1.5,
    ),
    # theta_neg = -theta: 1>0; -3/2>-1/2 by -1
    Case(name="snm", neuron=dual(-1), x=[1, -1.5], s=[1, -1], v=-0.5),
    # 1>0; -3/4 > -1
    Case(name="snm rests", neuron=dual(-1), x=[1, -0.75], s=[1, 0], v=-0.75),
    # 1>0; -1 <= -1: > 0
    Case(name="snm tie", neuron=dual(-1), x=[1, -1], s=[1, -1], v=0),
    # strict 0: 3/2>1/2; 0 is not below 0; -2^-30 is: > 1 - 2^-30
    Case(
        name="qffs",
        neuron=dual(0, strict=True),
        v0=0.5,
        x=[1, -0.5, -(2.0**-30)],
        s=[1, 0, -1],
        v=1 - 2.0**-30,
    ),
    # strict at -1/4: 3/2>1/2; -1/4 is not below -1/4
    Case(
        name="strict tie",
        neuron=dual(-0.25, strict=True),
        v0=0.5,
        x=[1, -0.75],
        s=[1, 0],
        v=-0.25,
    ),
    # -1/2 <= theta_neg, no guard: > 1/2, N = -1
    Case(name="ungated", neuron=dual(guard=False), v0=0.5, x=[-1], s=[-1], v=0.5),
    # theta 2, theta_neg -1: 3>1; -1 <= -1: > 1
    Case(
        name="dual, theta 2",
        neuron=dual(-1),
        theta=2,
        v0=1,
        x=[2, -2],
        s=[1, -1],
        v=1,
    ),
    # v(0) > theta and a constant current: 9/8>1/8; -1/2>1/2 by -1
    Case(
        name="constant but v0 high",
        neuron=dual(),
        v0=1.75,
        x=[-0.625] * 2,
        s=[1, -1],
        v=0.5,
    ),
    # -9/2: with T = 1 the guard is closed
    Case(name="dual, T=1", neuron=dual(), v0=0.5, x=[-5], s=[0], v=-4.5),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_neuron_table(case: Case) -> None:
    x = np.array(case.x, dtype=np.float64).reshape(-1, 1, 1)
    state = neurons.initial_state(np.array(case.v0), (1, 1))
    s, state = neurons.unroll(case.neuron, x, state, np.array(case.theta))
    assert s.dtype == np.int8
    assert s[:, 0, 0].tolist() == case.s
    assert state.v[0, 0] == case.v
    assert state.N[0, 0] == sum(case.s)


def test_a_neuron_in_debt_takes_nothing_back() -> None:
    """With N = -1 (never reached from N = 0) the guard is closed: -1/2 stays."""
    state = neurons.State(np.array([[0.5]]), np.array([[-1]]))
    s, state = neurons.unroll(dual(), np.array([[[-1.0]]]), state, np.array(1.0))
    assert (s.item(), state.v.item(), state.N.item()) == (0, -0.5, -1)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 25


@pytest.mark.parametrize(
    ("name", "theta_neg", "strict", "guard", "v0"),
    [
        ("fast-snn", -1e-3, False, True, 0.5),  # absolute: the same at theta = 4
        ("snm", -4.0, False, True, 0.0),  # relative: -theta
        ("qffs", 0.0, True, True, 0.5),
        ("ungated", -1e-3, False, False, 0.5),
    ],
)
def test_presets_at_theta_4(
    name: str, theta_neg: float, strict: bool, guard: bool, v0: float
) -> None:
    neuron = PRESETS[name].neuron(np.array(4.0))
    got = (neuron.theta_neg, neuron.strict, neuron.guard, PRESETS[name].v0)
    assert got == (theta_neg, strict, guard, v0)
    assert neuron.in_units_of(np.array(4.0)).theta_neg == theta_neg / 4


def test_negative_threshold_must_be_below_zero_or_strict() -> None:
    assert DualThresholdIF(theta_neg=-(2.0**-1074)).theta_neg < 0
    assert DualThresholdIF(theta_neg=0.0, strict=True).strict
    for theta_neg, strict in [(0.0, False), (2.0**-1074, False), (2.0**-1074, True)]:
        with pytest.raises(DomainError, match="theta_neg"):
            DualThresholdIF(theta_neg=theta_neg, strict=strict)
    with pytest.raises(DomainError, match="theta_neg"):
        DualThresholdIF(theta_neg=np.array([-1.0, 0.0]))


def test_a_name_belongs_to_one_neuron() -> None:
    assert Neuron.registry["IF"] is IF
    assert Neuron.registry["DualThresholdIF"] is DualThresholdIF

    class Base(Neuron, abstract=True):
        """A base of neurons needs no name; it may declare fields."""

        raised: np.ndarray = tensor("", default=None, unit="potential")

    class Child(Base):
        op = "toy-child"
        alphabet = (0, 1)

    for raised in (None, 0.5):
        child = Child(raised=raised).over((2, 3)).in_units_of(np.array(2.0))
        assert child.raised == (raised and 0.25)
    del Neuron.registry["toy-child"]

    with pytest.raises(OptionError, match="no op of its own"):

        class Nameless(IF):
            """It would be saved as its parent."""

    with pytest.raises(OptionError, match="the name of IF"):

        class Other(Base):
            op = "IF"
            alphabet = (0, 1)

    assert Neuron.registry["IF"] is IF


@pytest.mark.parametrize(
    ("x", "v0", "theta", "T", "want"),
    [
        (0.5, 0.0, 1.0, 4, 2),  # floor(2) = 2
        (0.5, 0.5, 1.0, 4, 2),  # floor(2.5) = 2
        (0.375, 0.5, 1.0, 4, 2),  # floor(2) = 2
        (0.25, 0.0, 1.0, 3, 0),  # floor(0.75) = 0
        (3.0, 0.0, 1.0, 4, 4),  # clipped at T
        (-1.0, 0.5, 1.0, 4, 0),  # clipped at 0
        (1.0, 1.0, 2.0, 3, 2),  # floor(4 / 2) = 2
        (1.0, 0.0, 1.0, 1, 1),  # the least v0
        (1.0, 1 - EPS, 1.0, 1, 1),  # the largest
    ],
)
def test_constant_count(x: float, v0: float, theta: float, T: int, want: int) -> None:
    got = constant_count(np.array(x), np.array(v0), np.array(theta), T)
    assert got == want
    assert got.dtype == np.int64


@pytest.mark.parametrize(
    ("z", "want"),
    [
        (-0.5, 0),
        (np.nextafter(-0.5, -1), -1),
        (0.0, 0),
        (0.25, 0),
        (0.5, 1),
        (1.5, 2),
        (2.5, 3),
        # 0.5 - 2^-54 + 0.5 rounds to 1 in float64: the rounding is of the sum
        (np.nextafter(0.5, 0), 1),
        (np.nextafter(1.5, 0), 1),  # 2 - 2^-52, exact: below 2
    ],
)
def test_floor_half_up(z: float, want: float) -> None:
    assert floor_half_up(np.array(z)) == want


def evaluated(activation: object, z: list[float]) -> list[float]:
    return activation(np.array([z]))[0].tolist()


def test_relu_and_its_gradient() -> None:
    z = [-1.0, 0.0, 2.0**-1074, 3.0]
    assert evaluated(ReLU(), z) == [0, 0, 2.0**-1074, 3]
    dz, dlam = ReLU().gradient(np.array([z]))
    assert dz.tolist() == [[0, 0, 1, 1]]
    assert dlam is None


def test_clip_and_its_gradient() -> None:
    clip = Clip(lam=2.0)
    z = [-1.0, 0.0, 0.5, 2 - 2 * EPS, 2.0, 5.0]
    assert evaluated(clip, z) == [0, 0, 0.5, 2 - 2 * EPS, 2, 2]
    dz, dlam = clip.gradient(np.array([z]))
    assert dz.tolist() == [[0, 0, 1, 1, 0, 0]]  # 1 for 0 < z < lam
    assert dlam.tolist() == [[0, 0, 0, 0, 1, 1]]  # 1 for z >= lam


def test_clip_per_channel() -> None:
    clip = Clip(lam=np.array([1.0, 2.0]))
    z = np.full((1, 2, 1, 2), 3.0)
    assert clip(z).tolist() == [[[[1, 1]], [[2, 2]]]]


def test_dead_clip_is_silent() -> None:
    assert evaluated(Clip(lam=0.0), [-1.0, 0.0, 1.0]) == [0, 0, 0]


# QCFS with lam = 2, L = 4: levels 0 .5 1 1.5 2; steps where 2 z + 1/2 is whole, that is
# at z = .25 .75 1.25 1.75
@pytest.mark.parametrize(
    ("z", "want"),
    [
        (-1.0, 0.0),  # floor(-1.5) = -2, clipped
        (0.0, 0.0),  # floor(0.5) = 0
        (0.249, 0.0),  # floor(0.998) = 0
        (0.25, 0.5),  # floor(1) = 1
        (0.74, 0.5),  # floor(1.98) = 1
        (0.75, 1.0),  # floor(2) = 2
        (1.25, 1.5),  # floor(3) = 3
        (1.75, 2.0),  # floor(4) = 4
        (2.0, 2.0),  # floor(4.5) = 4
        (9.0, 2.0),  # floor(18.5) = 18, clipped
    ],
)
def test_qcfs(z: float, want: float) -> None:
    assert evaluated(QCFS(lam=2.0, levels=4), [z]) == [want]


@pytest.mark.parametrize(
    ("z", "dz", "dlam"),
    [
        # Eq. 18: 1 for -lam/(2L) < z < lam - lam/(2L), here -1/4 < z < 7/4
        (-0.5, 0, 0),
        (-0.25, 0, 0),  # the end is outside
        (-0.125, 1, 0 + 0.0625),  # h/lam - z/lam = 0 + 1/16
        (0.25, 1, 0.25 - 0.125),  # h = 1/2
        (1.5, 1, 0.75 - 0.75),  # h = 3/2
        (1.75, 0, 1),  # the end is outside, above
        (3.0, 0, 1),
    ],
)
def test_qcfs_gradient_of_the_paper(z: float, dz: float, dlam: float) -> None:
    got = QCFS(lam=2.0, levels=4).gradient(np.array([[z]]))
    assert [g.item() for g in got] == [dz, dlam]


@pytest.mark.parametrize(
    ("z", "dz", "dlam"),
    [
        # floor(2 z + 1/2) in 0..4, that is -1/4 <= z < 9/4
        (-0.26, 0, 0),
        (-0.25, 1, 0.125),  # floor(0) = 0: inside; h/lam - z/lam = 0 + 1/8
        (1.75, 1, 1 - 0.875),  # floor(4) = 4: inside; h = 2
        (2.125, 1, 1 - 1.0625),  # floor(4.75) = 4: inside
        (2.25, 0, 1),  # floor(5) = 5: above
    ],
)
def test_qcfs_gradient_of_the_code(z: float, dz: float, dlam: float) -> None:
    got = QCFS(lam=2.0, levels=4).gradient_code(np.array([[z]]))
    assert [g.item() for g in got] == [dz, dlam]


X = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)  # 1 2 3 / 4 5 6 / 7 8 9


def test_convolution_by_hand() -> None:
    kernel = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    conv = Conv2d(weight=kernel, bias=np.array([0.5]))
    # 1+4+12+20 = 37; 2+6+15+24 = 47; 4+10+21+32 = 67; 5+12+24+36 = 77; bias 1/2
    assert conv(X).tolist() == [[[[37.5, 47.5], [67.5, 77.5]]]]


def test_convolution_with_padding_and_stride_by_hand() -> None:
    kernel = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    conv = Conv2d(weight=kernel, padding=(1, 1), stride=(2, 2))
    # corners of the padded map: 4*1; 3*2+4*3 = 18; 2*4+4*7 = 36; 5+12+24+36 = 77
    assert conv(X).tolist() == [[[[4, 18], [36, 77]]]]


def test_convolution_with_dilation_by_hand() -> None:
    kernel = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    conv = Conv2d(weight=kernel, dilation=(2, 2))
    assert conv(X).tolist() == [[[[1 + 6 + 21 + 36]]]]  # 1*1 2*3 3*7 4*9


def test_grouped_convolution_by_hand() -> None:
    conv = Conv2d(weight=np.array([[[[2.0]]], [[[3.0]]]]), groups=2)
    x = np.array([[[[5.0]], [[7.0]]]])
    assert conv(x).tolist() == [[[[10]], [[21]]]]  # each channel its own weight


def test_linear_by_hand() -> None:
    linear = Linear(weight=np.array([[1.0, 2, 3, 4]]), bias=np.array([10.0]))
    assert linear(np.array([[[[1.0, 1], [0, 2]]]])).tolist() == [[10 + 1 + 2 + 8]]


def test_pooling_by_hand() -> None:
    # windows 1 2 4 5 / 2 3 5 6 / 4 5 7 8 / 5 6 8 9
    how = {"kernel": (2, 2), "stride": (1, 1)}
    assert SumPool(**how)(X).tolist() == [[[[12, 16], [24, 28]]]]
    assert AvgPool(**how)(X).tolist() == [[[[3, 4], [6, 7]]]]
    assert MaxPool(**how)(X).tolist() == [[[[5, 6], [8, 9]]]]
    # windows that do not fit are dropped
    assert SumPool()(X).tolist() == [[[[12]]]]


def test_batchnorm_by_hand() -> None:
    norm = BatchNorm(gamma=[3.0], beta=[0.5], mean=[1.0], var=[3.75], eps=0.25)
    # 3 (x - 1) / sqrt(4) + 1/2
    assert norm(np.array([[5.0]])).tolist() == [[6.5]]
    folded = norm.folded_into(Linear(weight=np.array([[2.0]]), bias=np.array([4.0])))
    assert folded.weight.tolist() == [[3.0]]  # 3/2 * 2
    assert folded.bias.tolist() == [0.5 + 1.5 * (4 - 1)]


# ------------------------------------------------------------------ SRP's gate


def test_srp_lets_out_what_lies_above_a_thousandth_of_the_threshold() -> None:
    """v(tau) = 0 and 1e-3 are silenced, the next number above is let out.

    With the criterion v >= 0 only negative potentials are silenced.
    """
    just_above = np.nextafter(1e-3, 1)
    v = np.array([-0.5, -(2.0**-30), 0.0, 2.0**-10, 1e-3, just_above, 2.0**-9, 0.5])
    keep = GatedIF(tolerance=1e-3).keeps(v)
    assert keep.tolist() == [False, False, False, False, False, True, True, True]
    keep = GatedIF(tolerance=0.0, strict=False).keeps(v)
    assert keep.tolist() == [False, False, True, True, True, True, True, True]


def test_a_gate_on_a_grid_decides_as_before() -> None:
    """2^-10 < 1e-3 < 2^-9: on the grid 2^-10 a neuron is kept from 2 * 2^-10 on."""
    v = np.arange(-4, 5) / 2.0**10
    for neuron in (
        GatedIF(tolerance=1e-3),
        GatedIF(tolerance=1e-3, strict=False),
        GatedIF(tolerance=0.0, strict=False),
        GatedIF(tolerance=2.0**-9, strict=True),
    ):
        rounded = neuron.on_grid(np.array([10]))
        assert not rounded.strict
        assert (rounded.tolerance * 2**10 % 1 == 0).all()
        assert rounded.keeps(v).tolist() == neuron.keeps(v).tolist()
    assert GatedIF(tolerance=1e-3).on_grid(np.array([10])).tolerance == 2.0**-9


def test_a_gated_neuron_fires_inside_as_an_if_neuron_does() -> None:
    x = np.array([0.75, -1.0, 1.5, 0.5]).reshape(4, 1, 1)
    state = initial_state(np.array(0.5), (1, 1))
    want, _ = unroll(IF(), x, state, np.array(1.0))
    got, _ = unroll(GatedIF(tolerance=1e-3), x, state, np.array(1.0))
    assert got.tolist() == want.tolist() == [[[1]], [[0]], [[0]], [[1]]]
