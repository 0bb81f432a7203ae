"""Opens ONNX files of trackers, and checks what they take and give before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vswap_kernel.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import onnxruntime

_THREADS = 4
"""Fixed, because the order of summation, and with it the last bits, depends on their number."""
_KINDS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


def open_session(path: Path, device: str = "cpu", *, optimise: bool = True) -> onnxruntime.InferenceSession:
    """Open an ONNX file; on `device` "cuda" with CUDA's execution provider where onnxruntime has it.

    Raises:
        MissingExtraError: onnxruntime isn't installed.
        InputError: not an ONNX file that can be used.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError(
            f"{path}: running it takes onnxruntime, not installed here; run: pip install 'vswap[onnx]'"
        ) from None
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = _THREADS, 1
    # waiting threads that spin take the cores from each other where there are fewer cores than threads
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # windows differ in length: planned memory would be kept for each length met
    settings.enable_mem_pattern = False
    settings.log_severity_level = 3
    if not optimise:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    available = set(onnxruntime.get_available_providers())
    providers = [name for name in wanted if name in available] + ["CPUExecutionProvider"]
    # its errors share no base class that is public, and a broken file may raise any of them
    try:
        return onnxruntime.InferenceSession(str(path), settings, providers=providers)
    except Exception as error:
        reason = str(error).splitlines()[0].rpartition(":")[2].strip()
        raise InputError(f"{path}: not a usable ONNX model ({reason})") from error


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
