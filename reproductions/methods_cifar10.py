"""Methods on the shipped CIFAR-10 networks, all test images.

python reproductions/methods_cifar10.py

Calibration stands in calibration_cifar10 and calibration_relu_clip.
"""

from refsnn.reproduce import Reproduction, Run, main

STEPS, RELU = (1, 2, 4, 8, 16, 32), ("opi", "max-norm", "percentile", "rts", "snm")
LONG = (8, 16, 32, 64)
METHODS = {
    "resnet20_cifar10_qcfs4": (STEPS, ("qcfs", "srp", "srp-v0", "ecl")),
    "resnet20_cifar10_qcfs8": (STEPS, ("qcfs", "srp", "srp-v0", "ecl")),
    "resnet18_cifar10_qcfs4": (STEPS[:4], ("srp-v0",)),
    "resnet20_cifar10_pretrained": (LONG, RELU),
    "resnet20_cifar10_relu": (LONG, RELU),
    "resnet56_cifar10_pretrained": (LONG, RELU),
    "resnet20_cifar10_clip": (STEPS, ("ecl", *RELU)),
}
REPRODUCTION = Reproduction(
    title="Methods on CIFAR-10, ResNet-18, ResNet-20 and ResNet-56",
    data="cifar10",
    runs=(
        *(
            Run(network=network, method=method, steps=steps)
            for network, (steps, methods) in METHODS.items()
            for method in methods
        ),
        *(
            Run(network=network, method="cos", steps=STEPS[:4])
            for network in METHODS
            if "qcfs" in network
        ),
    ),
    claims=("ECL-5",),
)

if __name__ == "__main__":
    main(__file__)
