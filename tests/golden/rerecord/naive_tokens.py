"""The reference's tokenizer (transformers 4.39's slow CLIPTokenizer without ftfy), written out: Radford et al.,
"Learning Transferable Visual Models From Natural Language Supervision", ICML 2021. Nothing of transformers is used."""

from __future__ import annotations

import json
import unicodedata
from itertools import pairwise
from pathlib import Path

_ENDINGS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


def byte_letters() -> dict[int, str]:
    """A printable letter for each byte."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + number) for number, byte in enumerate(others)}


def cleaned(text: str) -> str:
    """Lower case, single spaces, ideographs set apart, no control characters."""
    kept = ""
    for letter in text:
        if letter.isspace() or unicodedata.category(letter) == "Zs":
            kept += " "
        elif unicodedata.category(letter).startswith("C") or letter == "\ufffd":
            continue
        elif any(first <= ord(letter) <= last for first, last in _IDEOGRAPHS):
            kept += f" {letter} "
        else:
            kept += letter
    return " ".join(unicodedata.normalize("NFC", kept).split()).lower()


def kind(letter: str) -> str:
    """L letter, N number, " " space, else P."""
    if letter.isspace():
        return " "
    return category if (category := unicodedata.category(letter)[0]) in "LN" else "P"


def pieces(text: str) -> list[str]:
    """English endings, runs of letters, single digits, runs of anything else."""
    found, at = [], 0
    while at < len(text):
        ending = next((ending for ending in _ENDINGS if text.startswith(ending, at)), None)
        sort, stop = kind(text[at]), at + 1
        if ending:
            stop = at + len(ending)
        elif sort in "LP":
            while stop < len(text) and kind(text[stop]) == sort:
                stop += 1
        if sort != " ":
            found.append(text[at:stop])
        at = stop
    return found


class Tokens:
    """The vocabulary of one folder."""

    def __init__(self, folder: Path) -> None:
        self.numbers = json.loads((folder / "vocab.json").read_text())
        lines = (folder / "merges.txt").read_text().strip().split("\n")[1:]
        self.ranks = {tuple(line.split()): rank for rank, line in enumerate(lines)}
        self.letters = byte_letters()

    def ids(self, text: str) -> list[int]:
        """From the start token to the end token, without padding."""
        found = [self.numbers["<|startoftext|>"]]
        for piece in pieces(cleaned(text)):
            found += [self.numbers[part] for part in self.merged(piece)]
        return [*found, self.numbers["<|endoftext|>"]]

    def merged(self, piece: str) -> list[str]:
        """The pair that was merged first in training is merged first, everywhere."""
        parts = [self.letters[byte] for byte in piece.encode()]
        parts[-1] += "</w>"
        while True:
            pairs = [pair for pair in pairwise(parts) if pair in self.ranks]
            if not pairs:
                return parts
            first, second = min(pairs, key=self.ranks.__getitem__)
            joined: list[str] = []
            for part in parts:
                if joined and joined[-1] == first and part == second:
                    joined[-1] = first + second
                else:
                    joined.append(part)
            parts = joined
