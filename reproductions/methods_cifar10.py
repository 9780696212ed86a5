"""Every method for QCFS networks on the shipped CIFAR-10 network, all test images.

python reproductions/methods_cifar10.py

COS is run to T = 8 only: its offset steps take the ordinary kernels.
"""

from refsnn.reproduce import Reproduction, Run, main

NETWORK, STEPS = "resnet20_cifar10_qcfs4", (1, 2, 4, 8, 16, 32)
REPRODUCTION = Reproduction(
    title="Methods for QCFS networks on CIFAR-10, ResNet-20",
    data="cifar10",
    runs=(
        *(
            Run(network=NETWORK, method=method, steps=STEPS)
            for method in ("qcfs", "srp", "srp-v0", "ecl")
        ),
        Run(network=NETWORK, method="cos", steps=STEPS[:4]),
    ),
    claims=("ECL-5",),
)

if __name__ == "__main__":
    main(__file__)
