"""The shipped digits networks under every method: anywhere, in seconds.

python reproductions/digits.py
"""

from refsnn.reproduce import Reproduction, Run, main

STEPS = (1, 2, 4, 8, 16, 32)
REPRODUCTION = Reproduction(
    title="Digits: every method on the shipped networks",
    data="digits",
    runs=(
        *(
            Run(network="digits_qcfs", method=method, steps=STEPS[2:])
            for method in ("qcfs", "srp", "srp-v0", "cos", "ecl")
        ),
        Run(network="digits_clip", method="ecl", steps=STEPS),
        Run(network="digits_clip", method="ecl", steps=STEPS, options={"dual": False}),
        *(
            Run(network="digits_relu", method=method, steps=STEPS)
            for method in ("max-norm", "percentile", "opi", "snm")
        ),
        *(
            Run(network="digits_relu", method=method, steps=(8, 32))
            for method in ("rts", "calib-none", "calib-light", "calib-potential")
        ),
    ),
    claims=("SRP-1", "SRP-2", "ECL-3", "ECL-5"),
)

if __name__ == "__main__":
    main(__file__)
