"""Networks of one operation, written as ONNX files byte by byte, so that tests need neither weights nor `onnx`."""

from __future__ import annotations

from pathlib import Path

Shape = tuple[int | str, ...]


def write_mean(
    path: Path,
    picture: Shape = (1, 3, 4, 6),
    answer: Shape | None = (1, 1, 4, 6),
    axis: int = 1,
    keep_axis: bool = True,
) -> Path:
    """A network that answers the mean of pictures [1, C, H, W] over an axis, the channels unless told.

    Args:
        path: the file to write; returned.
        picture, answer: the shapes it declares; numbers, or names for open axes. None declares none.
        axis: over which the mean is taken.
        keep_axis: whether that axis stays, with length 1.
    """
    attributes = _message(5, _text(1, "axes"), _number(8, axis), _number(20, 7))
    attributes += _message(5, _text(1, "keepdims"), _number(3, int(keep_axis)), _number(20, 2))
    node = _message(1, _text(1, "picture"), _text(2, "answer"), _text(4, "ReduceMean"), attributes)
    graph = _message(7, node, _text(2, "mean"), _value(11, "picture", picture), _value(12, "answer", answer))
    path.write_bytes(_number(1, 7) + graph + _message(8, _text(1, ""), _number(2, 11)))
    return path


def _value(field: int, name: str, shape: Shape | None) -> bytes:
    sides = [_message(1, _number(1, side) if isinstance(side, int) else _text(2, side)) for side in shape or ()]
    tensor = _message(1, _number(1, 1), b"" if shape is None else _message(2, *sides))
    return _message(field, _text(1, name), _message(2, tensor))


def _message(field: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode())


def _number(field: int, number: int) -> bytes:
    return _varint(field << 3) + _varint(number)


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
