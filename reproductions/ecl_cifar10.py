"""ECL on CIFAR-10 (Liu et al., ICML 2025, abstract): a reconstruction.

python reproductions/ecl_cifar10.py
"""

from refsnn.reproduce import Reproduction, Run, main

REPRODUCTION = Reproduction(
    title="ECL on CIFAR-10, ResNet-18",
    data="cifar10",
    runs=(
        Run(
            network="resnet18_cifar10_qcfs4",
            method="ecl",
            steps=(1, 2, 4, 8),
            rows={"paper": "ECL", "dataset": "CIFAR-10", "arch": "ResNet-18"},
            errors=(2, 4, 8),
            note="22 epochs and L = 4 here; the paper's are not known",
        ),
    ),
    claims=("ECL-1", "ECL-5"),
)

if __name__ == "__main__":
    main(__file__)
