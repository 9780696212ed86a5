"""Reproductions: published numbers beside ours, with a computed verdict.

A script in ``reproductions/`` is a declaration, :class:`Reproduction`; this package
runs it in shards, adds integers up, judges, and compares with what was recorded.
"""

from refsnn.reproduce.claims import CLAIM_VERDICTS, Claim
from refsnn.reproduce.declared import (
    Reproduction,
    Run,
    declared,
    default_root,
    load_declaration,
    main,
)
from refsnn.reproduce.executors import EXECUTORS
from refsnn.reproduce.facts import Published, Tolerances, load_published
from refsnn.reproduce.results import SHARD, reproduce
from refsnn.reproduce.verdicts import VERDICTS, Judged, Ours, judge, tolerance

__all__ = [
    "CLAIM_VERDICTS",
    "EXECUTORS",
    "SHARD",
    "VERDICTS",
    "Claim",
    "Judged",
    "Ours",
    "Published",
    "Reproduction",
    "Run",
    "Tolerances",
    "declared",
    "default_root",
    "judge",
    "load_declaration",
    "load_published",
    "main",
    "reproduce",
    "tolerance",
]
