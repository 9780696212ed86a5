r"""How errors of early layers reach the loss: exactly, and by the second-order bound.

Everything is in units of theta, on averages over T steps. For population l let

    a_l, z_l   activation and pre-activation of the trained network, a_l = h(z_l)
    phi_l      average output of the neurons, N_e / T
    z~_l       pre-activation of the trained network's weights on the neurons' outputs
    c_l        phi_l - h(z~_l)      local error
    e_l        phi_l - a_l          error

Exactly, with B_l the secant slope (h(z~_l) - h(z_l)) / (z~_l - z_l), 0 where equal::

    e_l = c_l + B_l W_l e_(l-1)                             (sums over projections)

so the logits are off by e = sum over l of J_l c_l, J_l the product of W and B from
population l on. With the derivative h'(z_l) in place of the secant the sum is
approximate. For the cross-entropy of softmax at the trained network's logits, gradient
g = p - y and Hessian H = diag(p) - p p^T,

    loss change  ~  g^T e + 1/2 e^T H e
    1/2 e^T H e  <= sum over l of 2^(n-l) c_l^T H_l c_l,    H_l = J_l^T H J_l

The bound uses (a + b)^T H (a + b) <= 2 a^T H a + 2 b^T H b at every layer; the paper
drops g^T e, because training ends at a stationary point. Layer by layer, `measured` is
the loss change of a network whose populations up to l are the neurons and whose later
ones are the trained activations.

Source: Li et al., arXiv 2205.10121; its text was not available, the derivation is ours.
"""

from refsnn.propagation.errors import Errors, Graph, errors_of, recursion_residue
from refsnn.propagation.loss import (
    Passed,
    Propagation,
    cross_entropy,
    layout,
    propagate,
)

__all__ = [
    "Errors",
    "Graph",
    "Passed",
    "Propagation",
    "cross_entropy",
    "errors_of",
    "layout",
    "propagate",
    "recursion_residue",
]
