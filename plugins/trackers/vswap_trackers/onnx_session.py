"""What an ONNX file takes and gives: looked at before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vswap_kernel.errors import InputError

if TYPE_CHECKING:
    import onnxruntime

_KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


def require(path: Path, kind: str, values: Sequence[Any], wanted: Mapping[str, tuple[str, int]]) -> None:
    """Refuse a file that lacks an input or output, or has it with another number of axes.

    Args:
        path: the file, for the message.
        kind: "input" or "output".
        values: what the session's `get_inputs` or `get_outputs` gives.
        wanted: by the option that names it, its name and number of axes.

    Raises:
        InputError: listing what the file has.
    """
    shapes = {value.name: list(value.shape) for value in values}
    has = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    for option, (name, axes) in wanted.items():
        if name not in shapes:
            raise InputError(f"{path}: has no {kind} {name!r} ({option}); its {kind}s: {has or 'none'}")
        # an empty shape is one that the file leaves open: the answer itself tells
        if shapes[name] and len(shapes[name]) != axes:
            raise InputError(f"{path}: {kind} {name!r} ({option}): expected {axes} axes; the file has {has}")


def fixed_axes(session: onnxruntime.InferenceSession, name: str) -> list[int | None]:
    """The lengths of an input's axes; None where they are open."""
    (shape,) = (value.shape for value in session.get_inputs() if value.name == name)
    return [side if isinstance(side, int) else None for side in shape]


def input_kind(path: Path, session: onnxruntime.InferenceSession, name: str) -> Any:
    """The NumPy type that an input takes.

    Raises:
        InputError: one that pictures or points can't be given as.
    """
    (kind,) = (value.type for value in session.get_inputs() if value.name == name)
    if kind not in _KINDS:
        raise InputError(f"{path}: input {name!r}: takes {kind}; known: {', '.join(_KINDS)}")
    return _KINDS[kind]
