"""What each part of ECL does (a reconstruction), one switched off at a time.

python reproductions/ecl_ablation.py
"""

from refsnn.reproduce import Reproduction, Run, main

NETWORK, STEPS = "resnet20_cifar10_qcfs4", (2, 4, 8)
REPRODUCTION = Reproduction(
    title="ECL's parts on CIFAR-10, ResNet-20",
    data="cifar10",
    runs=(
        Run(network=NETWORK, method="ecl", steps=STEPS),
        Run(network=NETWORK, method="ecl", steps=STEPS, options={"dual": False}),
        Run(network=NETWORK, method="ecl", steps=STEPS, options={"half": False}),
    ),
    claims=("ECL-3", "ECL-5"),
)

if __name__ == "__main__":
    main(__file__)
