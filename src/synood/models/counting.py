"""Parameter count."""

from __future__ import annotations

from typing import Any


def parameter_count(model: Any) -> int:  # noqa: ANN401 - any adapter or module
    """Return the number of parameters in all modules of an adapter, each counted once.

    >>> from torch import nn
    >>> parameter_count(nn.Linear(3, 2))
    8
    """
    found = {id(parameter): parameter.numel() for parameter in _parameters(model, 2)}
    return sum(found.values())


def _parameters(holder: Any, depth: int) -> list[Any]:  # noqa: ANN401
    from torch import nn

    if isinstance(holder, nn.Module):
        return list(holder.parameters())
    if depth == 0 or not hasattr(holder, "__dict__"):
        return []
    return [one for value in vars(holder).values() for one in _parameters(value, depth - 1)]
