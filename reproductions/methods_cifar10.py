"""Methods on the shipped CIFAR-10 networks, all test images.

python reproductions/methods_cifar10.py

Calibration stands in calibration_cifar10, calibration_relu_clip and calibration_qcfs.
"""

from refsnn.reproduce import Reproduction, each, main

SHORT, STEPS, LONG = (1, 2, 4, 8), (1, 2, 4, 8, 16, 32), (8, 16, 32, 64)
RELU = ("opi", "max-norm", "percentile", "rts", "snm")
LEVELS = ("resnet20_cifar10_qcfs4", "resnet20_cifar10_qcfs8")
RESNET18 = ("resnet18_cifar10_qcfs4",)
RECTIFIED = (
    "resnet20_cifar10_pretrained",
    "resnet20_cifar10_relu",
    "resnet56_cifar10_pretrained",
)
REPRODUCTION = Reproduction(
    title="Methods on CIFAR-10, ResNet-18, ResNet-20 and ResNet-56",
    data="cifar10",
    runs=(
        *each(LEVELS, ("qcfs", "srp", "srp-v0", "ecl", *RELU), STEPS),
        *each(RESNET18, ("srp-v0", *RELU), SHORT),
        *each((*LEVELS, *RESNET18), ("cos",), SHORT),
        *each(RECTIFIED, RELU, LONG),
        *each(("resnet20_cifar10_clip",), ("ecl", *RELU), STEPS),
    ),
    claims=("ECL-5",),
)

if __name__ == "__main__":
    main(__file__)
