"""Parameter calibration on the ResNet-20s trained with levels (QCFS), CIFAR-100.

python reproductions/calibration_cifar100.py

No published row is of these networks. Weights are trained in a tenth of the published
iterations.
"""

from refsnn.reproduce import CALIBRATIONS, Reproduction, each, main

REPRODUCTION = Reproduction(
    title="Parameter calibration on CIFAR-100, ResNet-20 with levels",
    data="cifar100",
    runs=each(
        ("resnet20_cifar100_qcfs4", "resnet20_cifar100_qcfs8"), CALIBRATIONS, (8,)
    ),
)

if __name__ == "__main__":
    main(__file__)
