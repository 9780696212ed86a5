"""Reproductions: published numbers beside ours, with a computed verdict.

A script in ``reproductions/`` is a declaration, :class:`Reproduction`; this package
runs it in shards, adds integers up, judges, and compares with what was recorded.
"""

from refsnn.reproduce.claims import CLAIM_VERDICTS, Claim
from refsnn.reproduce.declared import (
    CALIBRATIONS,
    Counted,
    Reproduction,
    Run,
    declared,
    default_root,
    each,
    load_declaration,
    main,
)
from refsnn.reproduce.executors import EXECUTORS
from refsnn.reproduce.facts import Published, Tolerances, load_published
from refsnn.reproduce.results import SHARD, from_recorded, reproduce
from refsnn.reproduce.verdicts import VERDICTS, Judged, Ours, judge, tolerance

__all__ = [
    "CALIBRATIONS",
    "CLAIM_VERDICTS",
    "EXECUTORS",
    "SHARD",
    "VERDICTS",
    "Claim",
    "Counted",
    "Judged",
    "Ours",
    "Published",
    "Reproduction",
    "Run",
    "Tolerances",
    "declared",
    "default_root",
    "each",
    "from_recorded",
    "judge",
    "load_declaration",
    "load_published",
    "main",
    "reproduce",
    "tolerance",
]
