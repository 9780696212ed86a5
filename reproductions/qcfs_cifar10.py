"""QCFS on CIFAR-10 (Bu et al., ICLR 2022, Table 1), two trained networks.

python reproductions/qcfs_cifar10.py
"""

from refsnn.reproduce import Reproduction, Run, main

NOTE = "50 epochs here, 300 in the paper; L = {} here, not given there"
REPRODUCTION = Reproduction(
    title="QCFS on CIFAR-10, ResNet-20",
    data="cifar10",
    runs=tuple(
        Run(
            network=f"resnet20_cifar10_qcfs{levels}",
            method="qcfs",
            steps=(1, 2, 4, 8, 16, 32, 64),
            rows={
                "paper": "QCFS",
                "table": "Table 1",
                "dataset": "CIFAR-10",
                "arch": "ResNet-20",
                "method": "QCFS",
            },
            note=NOTE.format(levels),
        )
        for levels in (4, 8)
    ),
)

if __name__ == "__main__":
    main(__file__)
