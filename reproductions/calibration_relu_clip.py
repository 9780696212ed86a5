"""Parameter calibration on the ReLU and the clip ResNet-20 trained here, CIFAR-10.

python reproductions/calibration_relu_clip.py

No published row is of these networks. Weights are trained in a tenth of the published
iterations.
"""

from refsnn.reproduce import Reproduction, Run, main

NAMES = ("calib-none", "calib-light", "calib-potential", "calib-advanced")
TENTH = {"iterations": 500}
OPTIONS = {
    "calib-none": {"samples": 896},
    "calib-advanced": TENTH,
    "calib-advanced-code": TENTH,
}
REPRODUCTION = Reproduction(
    title="Parameter calibration on CIFAR-10, ResNet-20 with ReLU and with clips",
    data="cifar10",
    runs=tuple(
        Run(
            network=network,
            method=method,
            steps=(8, 32),
            options=OPTIONS.get(method, {}),
        )
        for network in ("resnet20_cifar10_relu", "resnet20_cifar10_clip")
        for method in (*NAMES, *(f"{name}-code" for name in NAMES))
    ),
)

if __name__ == "__main__":
    main(__file__)
