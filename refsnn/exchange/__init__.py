"""Networks from and to other frameworks.

``from_torch`` and ``to_torch`` need the extra ``torch``; the others read files with
h5py and NumPy alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from refsnn.errors import OptionError
from refsnn.exchange.keras import from_keras
from refsnn.exchange.state_dict import from_state_dict, read_state_dict

if TYPE_CHECKING:
    from refsnn.exchange.torch_graph import from_torch
    from refsnn.exchange.torch_modules import to_torch

__all__ = [
    "from_keras",
    "from_state_dict",
    "from_torch",
    "read_state_dict",
    "to_torch",
]


def __getattr__(name: str) -> Any:
    """Import what needs PyTorch when it is asked for."""
    if name not in {"from_torch", "to_torch"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from refsnn.exchange import torch_graph, torch_modules  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise OptionError(
            where=f"refsnn.exchange.{name}",
            got="an environment without PyTorch",
            expected="the extra torch",
            do="pip install 'refsnn[torch]'",
        ) from None
    functions = {
        "from_torch": torch_graph.from_torch,
        "to_torch": torch_modules.to_torch,
    }
    return functions[name]
