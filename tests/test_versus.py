"""The peers that speed is measured against: laid out as meant, and the same spikes.

Needs the extra ``peers``, and the folder of the benchmarks.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra torch)")
pytest.importorskip("spikingjelly", reason="spikingjelly is not installed")

sys.path.insert(0, str(Path(__file__).parents[1] / "asv_benchmarks"))

from peers import SpikingJelly, Tuned, tensor  # noqa: E402

from refsnn import datasets, io  # noqa: E402
from refsnn.convert import convert  # noqa: E402
from refsnn.network import SpikingNetwork  # noqa: E402
from refsnn.recording import record  # noqa: E402
from refsnn.snap import snap  # noqa: E402

T = 6
IMAGES = datasets.load("digits", "test").images[:20]
# SpikingJelly's own deprecations are its to follow
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module", params=["qcfs", "ecl"])
def snn(request: pytest.FixtureRequest) -> SpikingNetwork:
    """A network on which float32 computes exactly."""
    ann = io.load_ann(datasets.weights_folder() / "digits_qcfs.h5")
    return snap(convert(ann, request.param, exact=False), "float32", T=T)


@pytest.mark.parametrize("peer", [Tuned, SpikingJelly])
def test_peers_emit_the_same_spikes(peer: type[Tuned], snn: SpikingNetwork) -> None:
    golden = record(snn, IMAGES, T)
    first = {
        name: tensor(p.input_current)
        for name, p in golden.populations.items()
        if p.input_current is not None
    }
    seen: dict[str, torch.Tensor] = {}
    peer(snn, T)(tensor(snn.preprocess(IMAGES)), first, seen)
    for name, p in golden.populations.items():
        assert (seen[name].numpy() == p.spikes).all(), name
    assert any((p.spikes < 0).any() for p in golden.populations.values()) == (
        snn.method == "ecl"
    )


def test_the_tuned_peer_keeps_channels_last(
    snn: SpikingNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Currents, membranes and spikes: layouts that alternate cost it a third."""
    layouts = set()

    def watched(name: str) -> None:
        real = getattr(torch.Tensor, name)

        def call(v: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            if v.shape == x.shape and v.ndim == 4:  # of maps; not of a bias
                for one in (v, x):
                    last = one.is_contiguous(memory_format=torch.channels_last)
                    layouts.add((name, last))
            return real(v, x)

        monkeypatch.setattr(torch.Tensor, name, call)

    for name in ("add_", "sub_"):
        watched(name)
    Tuned(snn, T)(tensor(snn.preprocess(IMAGES)))
    assert layouts == {("add_", True), ("sub_", True)}
