"""Speed, memory and exact counts of refsnn across commits.

Counts (``track_``) are exact: any change of one is a change of results. Benchmarks run
on every commit that has the functions they call.
"""
