"""Reads an option file of the reference field by field, and keeps count of what nobody has read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml

from vswap_kernel.errors import InputError

_Kind = TypeVar("_Kind")


class OptionFields:
    """The fields of one option file, by dotted name."""

    def __init__(self, path: Path, data: dict[str, Any], prefix: str = "") -> None:
        self.path, self._prefix, self._data = path, prefix, data
        self._leaves, self._read = dict(_leaves(data)), set[str]()

    @classmethod
    def load(cls, path: Path) -> OptionFields:
        """Read the YAML file `path`.

        Raises:
            InputError: no such file, or not YAML with fields.
        """
        try:
            data = yaml.safe_load(path.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())
            raise InputError(f"{path}: not an option file that can be read ({reason})") from None
        if not isinstance(data, dict):
            raise InputError(f"{path}: not an option file: expected fields such as `datasets:` and `val:`")
        return cls(path, data)

    def take(self, name: str, kind: type[_Kind], default: _Kind | None = None) -> _Kind | None:
        """The value of a field; `default` where it is missing or null.

        Raises:
            InputError: it is of another kind.
        """
        value: Any = self._data
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        self._read |= {leaf for leaf in self._leaves if leaf == name or leaf.startswith(f"{name}.")}
        if value is None:
            return default
        if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
            value = _number(value)  # YAML 1.1 takes 5e-4 for text
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            raise InputError(f"{self.path}: {self._prefix}{name}: expected {_SPOKEN[kind]}, got {value!r}")
        return value

    def need(self, name: str, kind: type[_Kind]) -> _Kind:
        """The value of a field that must be there.

        Raises:
            InputError: it is missing, or of another kind.
        """
        value = self.take(name, kind)
        if value is None:
            raise InputError(f"{self.path}: {self._prefix}{name}: missing; an option file of the reference has it")
        return value

    def parts(self, name: str) -> dict[str, OptionFields]:
        """The members of a field that holds several of the same form; each keeps its own count.

        Raises:
            InputError: it is missing, or not of that form.
        """
        members = self.need(name, dict)
        for key, value in members.items():
            if not isinstance(value, dict):
                raise InputError(f"{self.path}: {name}.{key}: expected fields, got {value!r}")
        return {str(key): OptionFields(self.path, value, f"{name}.{key}.") for key, value in members.items()}

    def replacement(self, name: str) -> tuple[str, str]:
        """The (old, new) words of a field "old words -> new words".

        Raises:
            InputError: it is missing, or of another form.
        """
        text = self.need(name, str)
        old, arrow, new = (part.strip() for part in text.partition("->"))
        if not (arrow and old and new):
            raise InputError(f"{self.path}: {self._prefix}{name}: expected 'old words -> new words', got {text!r}")
        return old, new

    def has(self, name: str) -> bool:
        """Whether there is a field of that name, or fields in it."""
        return any(leaf == name or leaf.startswith(f"{name}.") for leaf in self._leaves)

    def unread(self) -> dict[str, Any]:
        """The fields that nobody took, with their values."""
        left = {name: value for name, value in self._leaves.items() if name not in self._read and value is not None}
        return {f"{self._prefix}{name}": value for name, value in left.items()}


_SPOKEN: dict[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_SPOKEN |= {list: "a list", dict: "fields"}


def _number(value: int | str) -> Any:
    try:
        return float(value)
    except ValueError:
        return value


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, value
