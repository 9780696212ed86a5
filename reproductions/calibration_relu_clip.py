"""Parameter calibration on the ReLU and the clip ResNet-20 trained here, CIFAR-10.

python reproductions/calibration_relu_clip.py

No published row is of these networks. Weights are trained in a tenth of the published
iterations.
"""

from refsnn.reproduce import CALIBRATIONS, Reproduction, each, main

REPRODUCTION = Reproduction(
    title="Parameter calibration on CIFAR-10, ResNet-20 with ReLU and with clips",
    data="cifar10",
    runs=each(
        ("resnet20_cifar10_relu", "resnet20_cifar10_clip"), CALIBRATIONS, (8, 32)
    ),
)

if __name__ == "__main__":
    main(__file__)
