"""Methods on the shipped CIFAR-100 networks, all test images.

python reproductions/methods_cifar100.py

COS on the network with L = 4 stands in cos_cifar100, calibration in
calibration_cifar100.
"""

from refsnn.reproduce import Reproduction, each, main

NETWORKS = ("resnet20_cifar100_qcfs4", "resnet20_cifar100_qcfs8")
LEVELS = ("qcfs", "srp", "srp-v0", "ecl")
RELU = ("opi", "max-norm", "percentile", "rts", "snm")
REPRODUCTION = Reproduction(
    title="Methods on CIFAR-100, ResNet-20 with levels",
    data="cifar100",
    runs=(
        *each(NETWORKS, (*LEVELS, *RELU), (1, 2, 4, 8, 16, 32)),
        *each(NETWORKS[1:], ("cos",), (1, 2, 4, 8)),
    ),
    claims=("ECL-5",),
)

if __name__ == "__main__":
    main(__file__)
