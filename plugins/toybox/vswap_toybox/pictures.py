"""Pictures of a subject that the Toybox model has never seen, to teach it: what a user brings as photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from vswap_kernel.encode import write_png
from vswap_kernel.types import ByteArray
from vswap_toybox.rendering import render
from vswap_toybox.training import world
from vswap_toybox.training.world import Take

_SIZE = (64, 64)


def write_pictures(folder: Path, seed: int, count: int = 12, others: int = 16) -> ByteArray:
    """Write what `vswap concept train` reads of `world.CONCEPT`, and show it.

    pictures/ has `count` pictures of it, each in a scene and a pose of its own, captioned (000.txt beside 000.png);
    masks/ where it is on them; prior/ `others` pictures of things of its class that the model knows, captioned too. The
    same arguments give the same bytes.

    Returns:
        The pictures side by side, uint8 [H, W, 3], the first row the subject's.
    """
    shown = []
    for stream, name, size in ((8, "pictures", count), (5, "prior", others)):  # the shipped concept has seen these
        takes = [_take(np.random.default_rng((seed, stream, index)), name) for index in range(size)]
        made = [render(take.subject, take.scene, take.motion, _SIZE) for take in takes]
        for index, (take, picture) in enumerate(zip(takes, made, strict=True)):
            # Of the concept only the class: its looks are for the new words to learn.
            caption = f"a {take.subject.name} {take.scene.caption}" if name == "pictures" else take.caption
            _write(folder / name, index, picture.frames[0], caption)
            if name == "pictures":
                write_png(_made(folder / "masks") / f"{index:03d}.png", picture.masks[0])
        shown.append(np.concatenate([picture.frames[0] for picture in made[: min(count, others)]], 1))
    return np.concatenate(shown)


def _take(rng: np.random.Generator, kind: str) -> Take:
    """A picture of the concept, or of another subject of its class."""
    take = world.sample_picture(rng)
    if kind == "pictures":
        return replace(take, subject=world.CONCEPT)
    while take.subject.name != world.CONCEPT.name:
        take = world.sample_picture(rng)
    return take


def _write(folder: Path, index: int, picture: ByteArray, caption: str) -> None:
    write_png(_made(folder) / f"{index:03d}.png", picture)
    (folder / f"{index:03d}.txt").write_text(caption + "\n")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
