"""COS on CIFAR-100 (Hao et al., ICLR 2023, released tables), rho = 4.

python reproductions/cos_cifar100.py
"""

from refsnn.reproduce import Reproduction, Run, main

REPRODUCTION = Reproduction(
    title="COS on CIFAR-100, ResNet-20",
    data="cifar100",
    runs=(
        Run(
            network="resnet20_cifar100_qcfs4",
            method="cos",
            steps=(1, 2, 4, 8),
            rows={
                "paper": "COS",
                "table": "README",
                "dataset": "CIFAR-100",
                "arch": "ResNet-20",
            },
            note="50 epochs here, 300 in the paper; T counts behind rho steps",
        ),
    ),
)

if __name__ == "__main__":
    main(__file__)
