"""Methods on the digits networks that were not trained for them, and calibration.

python reproductions/methods_digits.py

With digits, every method on every digits network that takes it. Weights are trained in
a tenth of the published iterations, for T = 8.
"""

from refsnn.reproduce import Reproduction, Run, main

RELU = ("max-norm", "percentile", "opi", "rts", "snm")
NAMES = ("calib-none", "calib-light", "calib-potential", "calib-advanced")
CODE = tuple(f"{name}-code" for name in NAMES)
TRAINED = ("calib-advanced", "calib-advanced-code")
METHODS = {
    "digits_qcfs": (*RELU, *NAMES, *CODE),
    "digits_clip": (*RELU, *NAMES, *CODE),
    "digits_relu": ("calib-advanced", *CODE),
}
REPRODUCTION = Reproduction(
    title="Methods on the digits, on networks of every activation",
    data="digits",
    runs=tuple(
        Run(
            network=network,
            method=method,
            steps=(8,) if method in TRAINED else (4, 8, 16, 32),
            options={"iterations": 500} if method in TRAINED else {},
        )
        for network, methods in METHODS.items()
        for method in methods
    ),
)

if __name__ == "__main__":
    main(__file__)
