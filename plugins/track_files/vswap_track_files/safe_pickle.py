"""Pickles of numbers, read without running what they may hold.

A pickle names what it wants called. Here only NumPy arrays and builtin containers are known, and even NumPy's own
unpickling code is not run: stand-ins take down type, shape and bytes, from which `numpy.frombuffer` then makes arrays.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vswap_kernel.errors import InputError

_PLAIN = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248]|[SU]\d+)")
"""Bools, integers, floats, and text or bytes of a fixed length."""


def read_pickle(path: Path) -> Any:
    """What the pickle file holds: numbers, text, bytes, tuples, lists, sets, dicts, and read-only NumPy arrays.

    Raises:
        InputError: no such file, not a pickle, cut off, or it asks for anything else (an object of some class, a
            function, an array of objects).
    """
    try:
        with path.open("rb") as file:
            return _plain(_Unpickler(file).load())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except Exception as error:  # a damaged pickle may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: can't be read as a pickle of plain arrays ({reason})") from None


class _Dtype:
    """Stands for numpy.dtype: `text` as in "f4", and a byte order that comes with the state."""

    def __init__(self, text: Any, *_: Any) -> None:
        if not isinstance(text, str) or not _PLAIN.fullmatch(text):
            raise pickle.UnpicklingError(
                f"an array of type {text!r}; only plain numbers and fixed-length text are read"
            )
        self._text = text.lstrip("<>=|")
        self._order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, order, inner, names, fields, *_ = state
        if inner is not None or names is not None or fields is not None or order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError("an array whose cells are structures")
        self._order = order

    @property
    def real(self) -> np.dtype[Any]:
        return np.dtype(self._order + self._text)


class _Array:
    """Stands for an array until everything is read."""

    def __init__(self, *_: Any) -> None:
        self._parts: tuple[Any, Any, Any, Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, columns_first, data = state
        self._parts = (data, dtype, shape, "F" if columns_first else "C")

    @classmethod
    def of_buffer(cls, data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
        """NumPy's `_frombuffer`, of pickles of protocol 5."""
        made = cls()
        made._parts = (data, dtype, shape, order)
        return made

    def real(self) -> np.ndarray[Any, Any]:
        if self._parts is None:
            raise pickle.UnpicklingError("an array without content")
        data, dtype, shape, order = self._parts
        sizes = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
        if not (isinstance(dtype, _Dtype) and isinstance(data, bytes | bytearray) and sizes and order in ("C", "F")):
            raise pickle.UnpicklingError("an array of something else than numbers")
        kind = dtype.real
        if len(data) != kind.itemsize * math.prod(shape):
            raise pickle.UnpicklingError("an array whose size doesn't fit its shape")
        if not data:
            return np.zeros(shape, kind)
        array = np.frombuffer(data, kind).reshape(shape, order=order)
        array.flags.writeable = False
        return array


def _scalar(dtype: Any, data: Any) -> _Array:
    return _Array.of_buffer(data, dtype, (), "C")


def _encode(text: Any, coding: Any) -> bytes:
    """How pickles of protocol 2 write bytes."""
    if not isinstance(text, str) or coding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"text in the coding {coding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How pickles of protocol 2 write bytes that are empty."""
    return b""


def _nothing(*_: Any) -> Any:
    raise pickle.UnpicklingError("it makes an array in another way than NumPy does")


class _Callable:
    """What a pickle may call; unlike a function or a class, it can't be changed by the pickle for those that follow."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it changes a function")


_KNOWN: Mapping[tuple[str, str], _Callable] = {
    ("numpy", "ndarray"): _Callable(_nothing),  # is mentioned, as what `_reconstruct` makes
    ("numpy", "dtype"): _Callable(_Dtype),
    ("_codecs", "encode"): _Callable(_encode),
    ("collections", "OrderedDict"): _Callable(dict),
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Callable(_Array) for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Callable(_scalar) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Callable(_Array.of_buffer) for core in ("core", "_core")},
    **{(builtins, "bytes"): _Callable(_no_bytes) for builtins in ("builtins", "__builtin__")},
    **{(builtins, "set"): _Callable(set) for builtins in ("builtins", "__builtin__")},
}
_IN_WORK = object()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not a plain array or container")
        return _KNOWN[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it refers to something outside the file")


def _plain(value: Any, done: dict[int, Any] | None = None) -> Any:
    """`value` with real arrays in the place of what stands for them.

    done: what was made of each container, by its id: one that a small file mentions very often is walked through once.
    """
    if isinstance(value, _Array | dict | list | tuple | set | frozenset):
        done = {} if done is None else done
        if id(value) not in done:
            done[id(value)] = _IN_WORK
            done[id(value)] = _container(value, done)
        if done[id(value)] is _IN_WORK:
            raise pickle.UnpicklingError("it holds a container that contains itself")
        return done[id(value)]
    if isinstance(value, _Dtype):
        return value.real
    if callable(value):
        raise pickle.UnpicklingError("it holds a class or a function")
    return value


def _container(value: Any, done: dict[int, Any]) -> Any:
    if isinstance(value, _Array):
        array = value.real()
        return array[()] if array.ndim == 0 else array
    if isinstance(value, dict):
        return {_plain(key, done): _plain(item, done) for key, item in value.items()}
    return type(value)(_plain(item, done) for item in value)
