"""Augmentation of CIFAR images in NumPy and Pillow.

Random crops of the image padded by 4, horizontal flips, AutoAugment's policy for
CIFAR-10 (Cubuk et al., CVPR 2019, appendix; grey fill 128), and cutout (DeVries and
Taylor, 2017).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

GREY = (128, 128, 128)

# (operation, probability, magnitude 0..9) twice: the 25 sub-policies of the paper
POLICY = [
    (("invert", 0.1, 7), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 8), ("equalize", 0.9, 2)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 5), ("equalize", 0.5, 1)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 7), ("autocontrast", 0.4, 8)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 3)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 8), ("equalize", 0.6, 4)),
    (("color", 0.9, 9), ("equalize", 0.6, 6)),
    (("autocontrast", 0.8, 4), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 3)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 2), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 8), ("invert", 0.1, 3)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 1)),
]


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(
        image.size,
        Image.Transform.AFFINE,
        matrix,
        resample=Image.Resampling.BICUBIC,
        fillcolor=GREY,
    )


def _rotate(image: Image.Image, m: float) -> Image.Image:
    return image.rotate(30 * m, fillcolor=GREY)


def _enhance(kind: type) -> Callable[[Image.Image, float], Image.Image]:
    return lambda image, m: kind(image).enhance(1 + 0.9 * m)


# magnitude m is in 0..1, with a random sign for the signed operations
SIGNED: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "shear_x": lambda image, m: _affine(image, 1, 0.3 * m, 0, 0, 1, 0),
    "shear_y": lambda image, m: _affine(image, 1, 0, 0, 0.3 * m, 1, 0),
    "translate_x": lambda image, m: _affine(
        image, 1, 0, 150 / 331 * m * image.size[0], 0, 1, 0
    ),
    "translate_y": lambda image, m: _affine(
        image, 1, 0, 0, 0, 1, 150 / 331 * m * image.size[1]
    ),
    "rotate": _rotate,
    "color": _enhance(ImageEnhance.Color),
    "contrast": _enhance(ImageEnhance.Contrast),
    "sharpness": _enhance(ImageEnhance.Sharpness),
    "brightness": _enhance(ImageEnhance.Brightness),
}
UNSIGNED: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "posterize": lambda image, m: ImageOps.posterize(image, round(8 - 4 * m)),
    "solarize": lambda image, m: ImageOps.solarize(image, round(256 * (1 - m))),
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "invert": lambda image, _: ImageOps.invert(image),
}


def autoaugment(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply a random sub-policy to an image, shape (C, H, W), uint8."""
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    for name, probability, magnitude in POLICY[rng.integers(len(POLICY))]:
        if rng.random() >= probability:
            continue
        if name in SIGNED:
            sign = 1 if rng.random() < 0.5 else -1
            picture = SIGNED[name](picture, sign * magnitude / 9)
        else:
            picture = UNSIGNED[name](picture, magnitude / 9)
    return np.asarray(picture).transpose(2, 0, 1)


def augmented(
    images: np.ndarray, rng: np.random.Generator, *, policy: bool
) -> np.ndarray:
    """Crop, flip and, if asked for, apply AutoAugment; shape (B, C, H, W), uint8."""
    B, _, H, W = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (4, 4), (4, 4)))
    top, left = rng.integers(0, 9, (2, B))
    flip = rng.random(B) < 0.5
    out = np.empty_like(images)
    for index in range(B):
        i, j = top[index], left[index]
        image = padded[index, :, i : i + H, j : j + W]
        if flip[index]:
            image = image[:, :, ::-1]
        out[index] = autoaugment(image, rng) if policy else image
    return out


def cutout(x: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """Set a square around a random pixel of each normalised image to 0, the mean."""
    x = x.copy()
    H, W = x.shape[2:]
    half = size // 2
    for image, (i, j) in zip(x, rng.integers(0, (H, W), (len(x), 2)), strict=True):
        rows = slice(max(i - half, 0), i - half + size)
        columns = slice(max(j - half, 0), j - half + size)
        image[:, rows, columns] = 0
    return x
