"""The shipped digits networks under all methods but calib-advanced and the -code ones.

python reproductions/digits.py
"""

from refsnn.reproduce import Reproduction, Run, each, main

STEPS, T = (1, 2, 4, 8, 16, 32), (8,)
LEVELS = ("qcfs", "srp", "srp-v0", "cos", "ecl")
RELU = ("max-norm", "percentile", "opi", "snm")
SHIFTED = ("rts", "calib-none", "calib-light", "calib-potential")
SWEEP = ({"v0": v0} for v0 in (0.0, 0.25, 0.75, 1.0))
PARTS = ({}, {"dual": False}, {"clip": False}, *SWEEP)
ECL = ("ECL-2", "ECL-3", "ECL-4", "ECL-5")
REPRODUCTION = Reproduction(
    title="Digits: every method but calib-advanced and the -code ones",
    data="digits",
    runs=(
        *each(("digits_qcfs",), LEVELS, STEPS[2:], errors=T),
        *(
            Run(network="digits_clip", method="ecl", steps=STEPS, options=o, errors=T)
            for o in PARTS
        ),
        *each(("digits_relu",), RELU, STEPS, errors=T),
        *each(("digits_relu",), SHIFTED, (8, 32), errors=T, propagation=T),
    ),
    claims=("SRP-1", "SRP-2", "SRP-3", *ECL, "CAL-2", "CAL-3"),
    targets=("own", "relu"),
)

if __name__ == "__main__":
    main(__file__)
