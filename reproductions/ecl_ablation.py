"""What each part of ECL does (a reconstruction), one switched off or swept at a time.

python reproductions/ecl_ablation.py
"""

from refsnn.reproduce import Reproduction, Run, main

STEPS = (2, 4, 8)
PARTS = (
    {},
    {"dual": False},
    {"clip": False, "samples": 2000},
    *({"v0": v0} for v0 in (0.0, 0.25, 0.75, 1.0)),
)
REPRODUCTION = Reproduction(
    title="ECL's parts on CIFAR-10, ResNet-20",
    data="cifar10",
    runs=tuple(
        Run(
            network="resnet20_cifar10_qcfs4",
            method="ecl",
            steps=STEPS,
            options=options,
            errors=STEPS,
        )
        for options in PARTS
    ),
    claims=("ECL-2", "ECL-3", "ECL-4", "ECL-5"),
    targets=("own", "relu"),
)

if __name__ == "__main__":
    main(__file__)
