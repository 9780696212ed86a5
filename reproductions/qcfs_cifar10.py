"""QCFS on CIFAR-10 (Bu et al., ICLR 2022, Table 1).

python reproductions/qcfs_cifar10.py
"""

from refsnn.reproduce import Reproduction, Run, main

REPRODUCTION = Reproduction(
    title="QCFS on CIFAR-10, ResNet-20",
    data="cifar10",
    runs=(
        Run(
            network="resnet20_cifar10_qcfs4",
            method="qcfs",
            steps=(1, 2, 4, 8, 16, 32, 64),
            rows={
                "paper": "QCFS",
                "table": "Table 1",
                "dataset": "CIFAR-10",
                "arch": "ResNet-20",
                "method": "QCFS",
            },
            note="50 epochs here, 300 in the paper; L = 4 here, not given there",
        ),
    ),
)

if __name__ == "__main__":
    main(__file__)
