"""Methods on the digits networks that were not trained for them, and calibration.

python reproductions/methods_digits.py

With digits, every method on every digits network that takes it. Weights are trained in
a tenth of the published iterations, for T = 8.
"""

from refsnn.reproduce import Reproduction, each, main

STEPS = (4, 8, 16, 32)
RELU = ("max-norm", "percentile", "opi", "rts", "snm")
PLAIN = ("calib-none", "calib-light", "calib-potential")
CODE = tuple(f"{name}-code" for name in PLAIN)
TRAINED = ("calib-advanced:iterations=500", "calib-advanced-code:iterations=500")
CLIPPED = ("digits_qcfs", "digits_clip")
REPRODUCTION = Reproduction(
    title="Methods on the digits, on networks of every activation",
    data="digits",
    runs=(
        *each(CLIPPED, (*RELU, *PLAIN, *CODE), STEPS),
        *each(("digits_relu",), CODE, STEPS),
        *each((*CLIPPED, "digits_relu"), TRAINED, (8,)),
    ),
)

if __name__ == "__main__":
    main(__file__)
