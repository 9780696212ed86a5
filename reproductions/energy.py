"""Spikes, synaptic operations and energy of every layer and T, under every table.

python reproductions/energy.py

The first layer's multiply-accumulates are counted once and at every step; published
counts and energies (``published_operations.csv``) stand beside ours in the report.
"""

from refsnn.reproduce import Reproduction, each, main

REPRODUCTION = Reproduction(
    title="Operations and energy on CIFAR-10, ResNet-20",
    data="cifar10",
    runs=each(
        ("resnet20_cifar10_qcfs4",), ("qcfs", "srp", "ecl"), (1, 2, 4, 8, 16, 32)
    ),
    claims=("ECL-5",),
)

if __name__ == "__main__":
    main(__file__)
