"""QCFS on CIFAR-10 (Bu et al., ICLR 2022, Table 1), three trained networks.

python reproductions/qcfs_cifar10.py
"""

from refsnn.reproduce import Reproduction, Run, main

TRAINED = {  # what our training and the paper's, of 300 epochs, have not in common
    "resnet20_cifar10_qcfs4": "50 epochs here; L = 4 here, not given there",
    "resnet20_cifar10_qcfs8": "50 epochs here; L = 8 here, not given there",
    "resnet18_cifar10_qcfs4": "22 epochs here; L = 4",
}
REPRODUCTION = Reproduction(
    title="QCFS on CIFAR-10, ResNet-20 and ResNet-18",
    data="cifar10",
    runs=tuple(
        Run(
            network=network,
            method="qcfs",
            steps=(1, 2, 4, 8, 16, 32, 64),
            rows={
                "paper": "QCFS",
                "table": "Table 1",
                "dataset": "CIFAR-10",
                "arch": network.partition("_")[0].replace("resnet", "ResNet-"),
                "method": "QCFS",
            },
            note=f"{note}; 300 epochs in the paper",
        )
        for network, note in TRAINED.items()
    ),
)

if __name__ == "__main__":
    main(__file__)
