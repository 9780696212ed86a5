"""ECL on CIFAR-10 (Liu et al., ICML 2025, abstract): a reconstruction.

python reproductions/ecl_cifar10.py
"""

from refsnn.reproduce import Reproduction, Run, main

REPRODUCTION = Reproduction(
    title="ECL on CIFAR-10, ResNet-18",
    data="cifar10",
    runs=(
        Run(
            network="resnet18_cifar10_clip",
            method="ecl",
            steps=(2, 4, 8),
            rows={"paper": "ECL", "dataset": "CIFAR-10", "arch": "ResNet-18"},
            note="20 to 24 epochs here; the paper's are not known",
        ),
    ),
    claims=("ECL-1", "ECL-5"),
)

if __name__ == "__main__":
    main(__file__)
