"""SRP on CIFAR-100 (Hao et al., AAAI 2023, released tables and a reprint), tau = 4.

python reproductions/srp_cifar100.py
"""

from refsnn.reproduce import Reproduction, Run, main

REPRODUCTION = Reproduction(
    title="SRP on CIFAR-100, ResNet-20",
    data="cifar100",
    runs=(
        Run(
            network="resnet20_cifar100_qcfs4",
            method="srp",
            steps=(1, 2, 4, 8, 16, 32),
            rows={
                "paper": "SRP",
                "dataset": "CIFAR-100",
                "arch": "ResNet-20",
            },
            note="50 epochs here, 300 in the paper",
        ),
    ),
)

if __name__ == "__main__":
    main(__file__)
