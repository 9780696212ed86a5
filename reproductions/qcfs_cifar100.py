"""QCFS on CIFAR-100 (Bu et al., ICLR 2022, Table 2), two trained networks.

python reproductions/qcfs_cifar100.py
"""

from refsnn.reproduce import Reproduction, Run, main

REPRODUCTION = Reproduction(
    title="QCFS on CIFAR-100, ResNet-20",
    data="cifar100",
    runs=tuple(
        Run(
            network=f"resnet20_cifar100_qcfs{L}",
            method="qcfs",
            steps=(1, 2, 4, 8, 16, 32, 64),
            rows={
                "paper": "QCFS",
                "table": "Table 2",
                "dataset": "CIFAR-100",
                "arch": "ResNet-20",
                "method": "QCFS",
            },
            note=f"50 epochs here, 300 in the paper; L = {L} here, not given there",
        )
        for L in (4, 8)
    ),
)

if __name__ == "__main__":
    main(__file__)
