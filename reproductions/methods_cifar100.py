"""Methods for QCFS networks on the shipped CIFAR-100 networks, all test images.

python reproductions/methods_cifar100.py
"""

from refsnn.reproduce import Reproduction, Run, main

NETWORKS = ("resnet20_cifar100_qcfs4", "resnet20_cifar100_qcfs8")
STEPS = (1, 2, 4, 8, 16, 32)
REPRODUCTION = Reproduction(
    title="Methods for QCFS networks on CIFAR-100, ResNet-20",
    data="cifar100",
    runs=(
        *(
            Run(network=network, method=method, steps=STEPS)
            for network in NETWORKS
            for method in ("qcfs", "srp", "srp-v0", "ecl")
        ),
        Run(network=NETWORKS[1], method="cos", steps=STEPS[:4]),
    ),
    claims=("ECL-5",),
)

if __name__ == "__main__":
    main(__file__)
