"""What pictures are called: templates, or a text beside a picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vswap_concepts.training.settings import Subject
from vswap_kernel.errors import InputError

TEMPLATES = (
    "a photo of a {}",
    "a {}",
    "a picture of a {}",
    "a close-up photo of a {}",
    "a photo of the {}",
    "a bright photo of a {}",
    "a good photo of one {}",
    "a detailed photo of a {}",
)
PRIOR_TEMPLATE = "a photo of a {}"


def with_name(text: str, subject: Subject, where: str) -> str:
    """`text` with the subject's name at "{}", or in place of its class word; as it is where the name is in it.

    Raises:
        InputError: there is none of the three; `where` begins the message.
    """
    if subject.name in text:
        return text
    if "{}" in text:
        return text.replace("{}", subject.name)
    named, count = re.subn(rf"\b{re.escape(subject.class_word)}\b", subject.name, text, count=1, flags=re.IGNORECASE)
    if not count:
        raise InputError(
            f"{where}: no place for the subject in {text!r}: it has neither {{}} nor the class word "
            f"{subject.class_word!r} nor {subject.name!r}"
        )
    return named


def templates(given: Sequence[str], subject: Subject) -> tuple[str, ...]:
    """The captions of a picture without a text of its own, from the user's templates or ours.

    Raises:
        InputError: a template without a place for the subject.
    """
    return tuple(with_name(text, subject, "--caption") for text in given or TEMPLATES)


def own_caption(picture: Path) -> str | None:
    """What the text file beside a picture says, its name but for the suffix being the picture's; None: there is none.

    Raises:
        InputError: it is empty or no text.
    """
    path = picture.with_suffix(".txt")
    if not path.is_file():
        return None
    try:
        text = " ".join(path.read_text(encoding="utf-8").split())
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    if not text:
        raise InputError(f"{path}: empty; write the picture's caption, or delete it")
    return text


def subject_captions(picture: Path, subject: Subject, usual: tuple[str, ...]) -> tuple[str, ...]:
    """The captions that a picture of the subject may be shown with; `usual` where it has none of its own."""
    own = own_caption(picture)
    return usual if own is None else (with_name(own, subject, str(picture.with_suffix(".txt"))),)


def prior_captions(picture: Path, subject: Subject) -> tuple[str, ...]:
    """The caption of a picture of the class.

    Raises:
        InputError: its text names the subject.
    """
    own = own_caption(picture)
    if own is not None and any(word in own for word in subject.words):
        raise InputError(f"{picture.with_suffix('.txt')}: {own!r} names the subject; pictures of the class are without")
    return (own or PRIOR_TEMPLATE.format(subject.class_word),)
