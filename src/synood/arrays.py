"""Array-likes -> NumPy arrays: one conversion for every door that takes scores or features."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from synood.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_numpy(values: object, name: str) -> NDArray[Any]:
    """Convert lists, arrays, series or tensors, whatever their device, dtype and gradient.

    Tensors are detached and copied to the CPU; half precision becomes single, which changes no
    value. A sequence may hold tensors. Raises `InputError`, which begins with `name`, for what
    NumPy cannot hold, and for a masked array with masked elements: they have no value.

    >>> to_numpy([0.5, 1], "scores")
    array([0.5, 1. ])
    """
    if isinstance(values, list | tuple) and any(_is_array(value) for value in values):
        values = [to_numpy(value, name) for value in values]
    try:
        array = _of_tensor(values) if _is_tensor(values) else np.asanyarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{name}: not an array of numbers ({reason})") from None
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        masked = int(np.ma.getmaskarray(array).sum())
        raise InputError(f"{name}: {masked} of {array.size} values are masked; leave them out")
    return np.asarray(array)


def is_real(value: object) -> bool:
    """Whether a value is one real number, Python's or NumPy's."""
    return isinstance(value, Real)


def is_whole(value: object) -> bool:
    """Whether a value is one whole number, Python's or NumPy's.

    >>> is_whole(np.int64(3)), is_whole(3.0)
    (True, False)
    """
    return isinstance(value, Integral)


def _is_array(value: object) -> bool:
    return isinstance(value, list | tuple | np.ndarray) or _is_tensor(value)


def _is_tensor(value: object) -> bool:
    """Return whether `value` is torch's; torch itself is not imported."""
    return hasattr(value, "detach")


def _of_tensor(tensor: Any) -> NDArray[Any]:  # noqa: ANN401 - torch.Tensor, without its import
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()  # NumPy has no bfloat16
    array: NDArray[Any] = tensor.numpy(force=True)
    return array
