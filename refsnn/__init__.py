"""Reference implementation of ANN-to-SNN conversion, framework-free.

Symbols, the only names used in code, with their usual shapes:

========  ======  ===================================================  =============
paper     code    meaning                                              shape
========  ======  ===================================================  =============
T, L      T, L    time steps; QCFS levels (field ``levels``)
W, b      W, b    weight, bias (fields ``weight``, ``bias``)           (out, in, ...)
z, a      z, a    pre-activation and activation of the trained net     (B, *S)
lambda    lam     clip of the activation                               () or (C,)
theta     theta   firing threshold                                     () or (C,)
I(t)      x       input current of a step, bias included               (T, B, *S)
u(t)      u       potential after charge, before fire                  (B, *S)
v(t)      v       potential after reset                                (B, *S)
s(t)      s       spike, -1, 0 or 1                                    (T, B, *S)
N         N       net spike count                                      (B, *S)
phi(T)    phi     average postsynaptic potential theta N / T           (B, *S)
========  ======  ===================================================  =============

Time comes first, then the batch, then the shape of the population, channels first.
"""

__version__ = "0.1.0"
