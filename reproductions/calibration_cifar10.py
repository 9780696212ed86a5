"""Parameter calibration (arXiv 2205.10121) on the pretrained ReLU ResNets, CIFAR-10.

python reproductions/calibration_cifar10.py

No published row is of these networks: the tables' ResNet-20 has 64-128-256 channels.
calib-none looks at as many images as calib-light; calib-advanced also in a tenth of
the published iterations.
"""

from refsnn.reproduce import Reproduction, each, main

NETWORKS = ("resnet20_cifar10_pretrained", "resnet56_cifar10_pretrained")
STEPS = (8, 16, 32, 64)
METHODS = (
    "calib-none:samples=896",
    "calib-light",
    "calib-potential",
    "calib-advanced",
    "calib-none-code",
    "calib-light-code",
    "calib-potential-code",
    "calib-advanced-code",
)
REPRODUCTION = Reproduction(
    title="Parameter calibration on CIFAR-10, pretrained ResNet-20 and ResNet-56",
    data="cifar10",
    runs=(
        *each(NETWORKS, METHODS, STEPS),
        *each(NETWORKS[:1], ("calib-advanced:iterations=500",), STEPS),
    ),
    claims=("CAL-1", "CAL-4", "CAL-5"),
)

if __name__ == "__main__":
    main(__file__)
