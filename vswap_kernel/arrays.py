"""Safetensors files read by memory map and written as a stream, so that a long clip never has to fit in memory.

The safetensors library writes only whole tensors that are already in memory; a video is written frame by frame and
its length is known last. The files are ordinary safetensors (https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.errors import StoreError

_HEADER_BYTES = 504  # with the 8 length bytes before it, data starts at a multiple of 512
_TO_NAME = {"uint8": "U8", "bool": "BOOL", "int32": "I32", "int64": "I64", "float32": "F32", "float64": "F64"}
_TO_DTYPE = {name: np.dtype(dtype) for dtype, name in _TO_NAME.items()}


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write small arrays (points, tracks) as one safetensors file."""
    from safetensors.numpy import save_file

    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read every array of a small safetensors file into memory.

    Raises:
        StoreError: the file is missing, truncated or not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path}: not a readable safetensors file ({error})") from error


def stream_array(path: Path, name: str, chunks: Iterable[NDArray[Any]]) -> None:
    """Write chunks [n, ...] of one dtype and trailing shape, one after the other, as the tensor `name` of `path`.

    Plain writes rather than a writable map: a full disk is then an OSError and not a SIGBUS.
    """
    length, first = 0, None
    path.unlink(missing_ok=True)  # a killed run may have left it, sealed and linked into the store
    with path.open("wb") as file:
        file.write(b"\0" * (8 + _HEADER_BYTES))
        for chunk in chunks:
            first = chunk if first is None else first
            if chunk.shape[1:] != first.shape[1:] or chunk.dtype != first.dtype:
                raise ValueError(f"chunk of {chunk.dtype}{chunk.shape[1:]} after {first.dtype}{first.shape[1:]}")
            file.write(np.ascontiguousarray(chunk).data)
            length += len(chunk)
        if first is None:
            raise ValueError("no chunks to write")
        shape = [length, *first.shape[1:]]
        size = int(np.prod(shape)) * first.dtype.itemsize
        entry = {"dtype": _TO_NAME[first.dtype.name], "shape": shape, "data_offsets": [0, size]}
        header = json.dumps({name: entry}).encode()
        file.seek(0)
        file.write(struct.pack("<Q", _HEADER_BYTES) + header.ljust(_HEADER_BYTES))


def map_array(path: Path, name: str) -> tuple[NDArray[Any], mmap.mmap]:
    """Map the tensor `name` of a safetensors file: a read-only array, and the map that backs it.

    Raises:
        StoreError: the file is missing, truncated, or holds no such tensor.
    """
    try:
        with path.open("rb") as file:
            (header_size,) = struct.unpack("<Q", file.read(8))
            entry = json.loads(file.read(header_size))[name]
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        dtype, (begin, end) = _TO_DTYPE[entry["dtype"]], entry["data_offsets"]
        flat = np.frombuffer(mapped, dtype, (end - begin) // dtype.itemsize, 8 + header_size + begin)
        return flat.reshape(entry["shape"]), mapped
    except (OSError, ValueError, KeyError, OverflowError, struct.error) as error:
        raise StoreError(f"{path}: not a readable safetensors file with {name!r} ({error})") from error
