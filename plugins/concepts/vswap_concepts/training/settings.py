"""What a training is asked to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vswap_kernel.errors import InputError

_NAME = re.compile(r"<[\w-]+>( <[\w-]+>)*")


@dataclass(frozen=True)
class Subject:
    """What is learned: its new words ("<toyA1>", "<toyA2>"), and the word of the model for things of its class."""

    words: tuple[str, ...]
    class_word: str

    @property
    def name(self) -> str:
        """The words as a prompt has them."""
        return " ".join(self.words)

    @classmethod
    def parse(cls, name: str, class_word: str) -> Subject:
        """From what the user wrote.

        Raises:
            InputError: a name that isn't words in <>, or no class word.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                f'--name {name!r}: expected words in <> of letters, digits, _ or -, as in "<toyA1> <toyA2>"'
            )
        words = tuple(name.split())
        if len(set(words)) < len(words):
            raise InputError(f"--name {name!r}: the same word twice; each word learns something of its own")
        if not class_word.strip() or "<" in class_word or "{" in class_word:
            raise InputError(f"--class {class_word!r}: expected a word that the model knows, as in car")
        return cls(words, class_word.strip())


@dataclass(frozen=True)
class TrainingSettings:
    """How it is learned. The rates are those of Gu et al., "Mix-of-Show", NeurIPS 2023.

    Attributes:
        steps, batch: optimiser steps, and pictures in each.
        rank: of the changes of the weights.
        words_rate, text_rate, unet_rate: highest learning rates of the words, of the text encoder's changes and of the
            U-Net's. Each rises over the first steps and falls to nearly nothing along a cosine.
        background: weight of what is outside a picture's mask; the subject's is 1.
        prior_every: every n-th picture is one of the class, where there are any.
        flip: show half of the pictures mirrored.
        loss_scale: raise it (1024) where the U-Net computes in float16, whose gradients would vanish otherwise.
        checkpoint_every: steps between checkpoints.
        seed: of all random choices.
    """

    steps: int = 800
    batch: int = 4
    rank: int = 4
    words_rate: float = 1e-3
    text_rate: float = 1e-5
    unet_rate: float = 1e-4
    background: float = 0.1
    prior_every: int = 4
    flip: bool = False
    loss_scale: float = 1.0
    checkpoint_every: int = 50
    seed: int = 0
