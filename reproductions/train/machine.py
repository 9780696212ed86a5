"""What a network was trained on, and in which numbers."""

from __future__ import annotations

from typing import Any

import torch

from refsnn.environment import processor

BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""What PyTorch calls the instructions of processors for products in bfloat16."""


def has_bfloat16(device: str) -> bool:
    """Say whether a device multiplies in bfloat16.

    Others emulate it: an EPYC of AVX2 alone needed ten times as long as in float32.
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # not in old ones
    return any(capabilities.get(name, False) for name in BFLOAT16)


def machine(threads: int, gpu: str | None, bfloat16: bool) -> dict[str, Any]:
    """Say which processor, how many of its threads, and which GPU trains."""
    kind = "bfloat16" if bfloat16 else "float32"
    return {"processor": processor(), "threads": threads, "gpu": gpu, "products": kind}
