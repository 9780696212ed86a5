"""Parameter calibration (arXiv 2205.10121) on the pretrained ReLU ResNets, CIFAR-10.

python reproductions/calibration_cifar10.py

No published row is of these networks: the tables' ResNet-20 has 64-128-256 channels.
calib-none looks at as many images as calib-light; calib-advanced also in a tenth of
the published iterations.
"""

from refsnn.reproduce import Reproduction, Run, main

NETWORKS = ("resnet20_cifar10_pretrained", "resnet56_cifar10_pretrained")
PLAIN = ("calib-none", "calib-light", "calib-potential", "calib-advanced")
REPRODUCTION = Reproduction(
    title="Parameter calibration on CIFAR-10, pretrained ResNet-20 and ResNet-56",
    data="cifar10",
    runs=(
        *(
            Run(
                network=network,
                method=method,
                steps=(8, 16, 32, 64),
                options={"samples": 896} if method == "calib-none" else {},
            )
            for network in NETWORKS
            for method in (*PLAIN, *(f"{name}-code" for name in PLAIN))
        ),
        Run(
            network=NETWORKS[0],
            method="calib-advanced",
            steps=(8, 16, 32, 64),
            options={"iterations": 500},
        ),
    ),
    claims=("CAL-1", "CAL-4", "CAL-5"),
)

if __name__ == "__main__":
    main(__file__)
