"""Layers of the trained network and of the spiking one, with their output shapes.

Arrays have one leading axis M (a batch, or steps times batch) and then the shape S,
channels first: (M, C, H, W) or (M, N).
"""

from refsnn.layers.base import Layer
from refsnn.layers.linear_maps import Conv2d, Identity, Linear, LinearMap
from refsnn.layers.others import Add, BatchNorm, Flatten, Input
from refsnn.layers.pooling import AvgPool, GlobalAvgPool, MaxPool, Pool, SumPool
from refsnn.layers.products import linearised, product, pulled_back, vjp

__all__ = [
    "Add",
    "AvgPool",
    "BatchNorm",
    "Conv2d",
    "Flatten",
    "GlobalAvgPool",
    "Identity",
    "Input",
    "Layer",
    "Linear",
    "LinearMap",
    "MaxPool",
    "Pool",
    "SumPool",
    "linearised",
    "product",
    "pulled_back",
    "vjp",
]
