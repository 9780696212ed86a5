"""SRP on CIFAR-10 (Hao et al., AAAI 2023, as an audit of others quotes it), tau = 4.

python reproductions/srp_cifar10.py
"""

from refsnn.reproduce import Reproduction, Run, main

REPRODUCTION = Reproduction(
    title="SRP on CIFAR-10, ResNet-18",
    data="cifar10",
    runs=(
        Run(
            network="resnet18_cifar10_qcfs4",
            method="srp",
            steps=(1, 2, 4, 8),
            rows={"paper": "SRP", "dataset": "CIFAR-10", "arch": "ResNet-18"},
            note="22 epochs and L = 4 here; the paper's are not known",
        ),
    ),
)

if __name__ == "__main__":
    main(__file__)
