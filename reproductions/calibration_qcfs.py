"""Parameter calibration on the ResNets trained with levels (QCFS), CIFAR-10.

python reproductions/calibration_qcfs.py

No published row is of these networks. Weights are trained in a tenth of the published
iterations.
"""

from refsnn.reproduce import CALIBRATIONS, Reproduction, each, main

NETWORKS = (
    "resnet20_cifar10_qcfs4",
    "resnet20_cifar10_qcfs8",
    "resnet18_cifar10_qcfs4",
)
REPRODUCTION = Reproduction(
    title="Parameter calibration on CIFAR-10, ResNet-20 and ResNet-18 with levels",
    data="cifar10",
    runs=each(NETWORKS, CALIBRATIONS, (8,)),
)

if __name__ == "__main__":
    main(__file__)
