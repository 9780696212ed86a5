"""The first 200 CIFAR-10 test images through the shipped network: a check in seconds.

python reproductions/slice_cifar10.py --check
"""

from refsnn.reproduce import Reproduction, each, main

REPRODUCTION = Reproduction(
    title="200 CIFAR-10 images, ResNet-20: what a test re-runs",
    data="cifar10",
    images=200,
    runs=each(("resnet20_cifar10_qcfs4",), ("qcfs", "srp", "ecl"), (1, 2, 4, 8)),
)

if __name__ == "__main__":
    main(__file__)
