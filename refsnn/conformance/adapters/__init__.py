"""Adapters of other simulators, for :mod:`refsnn.conformance`.

Each module needs its simulator; none is imported by the package. The module `numpy` is
the template for your own: copy it and fill in what your simulator does.
"""
