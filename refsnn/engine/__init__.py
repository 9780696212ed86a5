"""Event-driven simulation in mode ``exact``: the fast way to the same bits.

``geometry`` lays out projections as windows, ``filter`` chooses the numbers, ``layout``
and ``plan`` put a population's operands where its kernel wants them, ``currents``
computes what the image causes, ``places`` and ``calls`` say where a run of some shape
keeps its spikes, ``network`` runs prepared populations and counts.
``ordered`` runs one population in mode ``ordered`` on the same kernels. ``currents``
and what is named after it load Numba.
"""
