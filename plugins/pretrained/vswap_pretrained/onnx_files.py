"""Opens networks that are ONNX files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vswap_kernel.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import onnxruntime

_THREADS = 4
"""Fixed, because the order of summation, and with it the last bits, depends on their number."""


def open_session(
    path: Path, device: str = "cpu", *, optimise: bool = True, hint: str = ""
) -> onnxruntime.InferenceSession:
    """Open an ONNX file; on `device` "cuda" with CUDA's execution provider where onnxruntime has it.

    Args:
        path: the file.
        device: as in `Context`.
        optimise: off where the file is only looked at, which is quicker.
        hint: the end of the error for a file that is no network: what would do.

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
    # inputs may differ in length: planned memory would be kept for each length met
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
        raise InputError(f"{path}: not a usable ONNX model ({reason}){hint and f'; {hint}'}") from error
