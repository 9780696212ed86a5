"""The conformance kit: does another simulator emit the reference's spikes?

An adapter (see :mod:`refsnn.conformance.adapters.numpy`) drives a simulator; every
vector is a small network, or a trained one, with its inputs and the spikes that must
come out. All are certified for binary32, so the only passing score is no difference.
"""

from refsnn.conformance.agreement import agreed, story, tally
from refsnn.conformance.arrays import network_arrays
from refsnn.conformance.base import Vector
from refsnn.conformance.judge import (
    STATUSES,
    Adapter,
    Score,
    conform,
    find_adapter,
    judge,
    play,
)
from refsnn.conformance.networks import names, vector, vectors
from refsnn.conformance.stored import check, write

__all__ = [
    "STATUSES",
    "Adapter",
    "Score",
    "Vector",
    "agreed",
    "check",
    "conform",
    "find_adapter",
    "judge",
    "names",
    "network_arrays",
    "play",
    "story",
    "tally",
    "vector",
    "vectors",
    "write",
]
