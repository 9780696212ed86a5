"""Parameters, multiply-accumulates and neurons of the published architectures.

python reproductions/architectures.py

One generated image of 224 x 224 runs through those for ImageNet, in a process of its
own whose peak memory is measured.
"""

from refsnn.reproduce import Counted, Reproduction, main

REPRODUCTION = Reproduction(
    title="Architectures: counts, and one large image through each",
    counted=(
        *(
            Counted(arch=arch, classes=1000, size=224, T=4)
            for arch in ("resnet34", "vgg16", "mobilenet")
        ),
        *(
            Counted(arch=arch, classes=classes, size=32)
            for arch in ("vgg16", "resnet20", "resnet20-calib")
            for classes in (10, 100)
        ),
        Counted(arch="resnet18", classes=100, size=32),
        Counted(arch="vgg16-single", classes=100, size=32),
    ),
)

if __name__ == "__main__":
    main(__file__)
