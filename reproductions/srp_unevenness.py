"""Unevenness and its four cases (Hao et al., AAAI 2023), before and after repairs.

python reproductions/srp_unevenness.py
"""

from refsnn.reproduce import Reproduction, each, main

STEPS = (4, 8)
REPRODUCTION = Reproduction(
    title="Unevenness on CIFAR-10, ResNet-20: qcfs, SRP, COS",
    data="cifar10",
    runs=each(
        ("resnet20_cifar10_qcfs4",),
        ("qcfs", "srp", "srp-v0", "cos"),
        STEPS,
        errors=STEPS,
    ),
    claims=("SRP-1", "SRP-2", "SRP-3"),
)

if __name__ == "__main__":
    main(__file__)
