"""What DDIM inversion loses on the Toybox model: up the ladder and down again with nothing edited, in dB.

    python benchmarks/inversion_round_trip.py
    python benchmarks/inversion_round_trip.py --clips 2 --steps 20 --weights toybox-train/export

Source clips of toybox/same-shape at 64x64 are encoded (the VAE's mean), inverted under their own caption, sampled back
by the code of `point-diffusion` with guidance 1, no points and no blend, and decoded. Columns, each over all pixels and
over the subject's alone (weighted by the true mask):

- VAE: encoded and decoded, against the source; no swap on this model can do better inside the subject.
- whole: the round trip against the source.
- inversion: the round trip against the encoded and decoded source, the VAE's own loss set aside.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

SUITE, SIZE = "toybox/same-shape", (64, 64)
MASK_SCALES = (1, 2)  # whose attention the inversion keeps; examples/ablations/ have the same
PAIRS = ("VAE", "whole", "inversion")


def components(weights: Path | None, motion: str, scratch: Path) -> tuple[Any, Any]:
    """Backbone and motion module, of the shipped weights or of another export's."""
    from vswap_kernel.api import Context
    from vswap_kernel.registry import Registry

    registry, context = Registry.discover(), Context(scratch)
    options = {} if weights is None else {"weights": weights / "model"}
    backbone = registry.create("backbone", "toybox", options, context)
    options = {} if weights is None or motion == "none" else {"weights": weights / "motion"}
    return backbone, registry.create("motion", motion, options, context)


def round_trip(backbone: Any, latents: Any, caption: str, steps: int, folder: Path) -> Any:
    """Latents [F, 4, h, w] inverted into `folder` in so many steps, and sampled back in as many."""
    from vswap_kernel.types import Prompt
    from vswap_swappers.point_diffusion.ddim import Ladder, sampled
    from vswap_swappers.point_diffusion.guidance import Guidance, text_pair
    from vswap_swappers.point_diffusion.inversion import Inversion, invert
    from vswap_swappers.point_diffusion.word_alignment import prompt_tokens
    from vswap_swappers.point_diffusion.word_attention import layers_at_scales

    text, empty = (backbone.embed_text(Prompt(words)) for words in (caption, ""))
    tokens = range(len(prompt_tokens(backbone.tokenizer, Prompt(caption))))
    layers = layers_at_scales(backbone.layers, MASK_SCALES)
    ladder = Ladder.of(backbone.alphas_cumprod, steps)
    settings = {"negative_first_timestep": False, "progress": lambda *_: None}
    invert(backbone, text, tokens, layers, ladder, lambda: latents, folder, **settings)
    noisiest = Inversion.in_folder(folder, steps, backbone.device).levels[-1]
    guidance = Guidance(backbone, text_pair(empty, text), 1.0, steps)
    *_, (clean, _) = sampled(guidance, noisiest, ladder)
    return clean


def psnr(made: np.ndarray, wanted: np.ndarray, masks: np.ndarray) -> tuple[float, float]:
    """dB between frames uint8 [F, H, W, 3]: over all pixels, and over the subject's by masks uint8 [F, H, W]."""
    squares = np.square(made.astype(float) - wanted).mean(-1)
    errors = squares.mean(), np.average(squares, weights=masks)
    every, subject = (float(10 * np.log10(255**2 / max(error, 1e-6))) for error in errors)
    return every, subject


def rows(asked: argparse.Namespace, scratch: Path) -> Iterator[tuple[str, list[float]]]:
    """A caption and six figures for each clip: those of `PAIRS`, each over all pixels and over the subject's."""
    from vswap_toybox.evaluation.suites import suite_clip

    backbone, motion = components(asked.weights, asked.motion, scratch)
    for index in range(asked.clips):
        clip = suite_clip(SUITE, asked.seed, index, SIZE)
        caption = f"{clip.subject.caption} {clip.scene.caption}"
        source, masks = np.asarray(clip.video.frames), np.asarray(clip.masks.frames)
        latents = backbone.encode(source)
        folder = scratch / f"{index:03d}"
        folder.mkdir()
        with motion.attach(backbone):
            returned = round_trip(backbone, latents, caption, asked.steps, folder)
        kept, back = backbone.decode(latents), backbone.decode(returned)
        pairs = (kept, source), (back, source), (back, kept)
        yield caption, [figure for made, wanted in pairs for figure in psnr(made, wanted, masks)]


def main() -> None:
    """Print a row for each clip, and the mean of the clips' figures."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--clips", type=int, default=8)
    given.add_argument("--steps", type=int, default=50, help="of the inversion, and of the sampling")
    given.add_argument("--seed", type=int, default=0, help="of the clips")
    given.add_argument("--motion", choices=("toybox", "none"), default="toybox")
    given.add_argument("--weights", type=Path, help="an export (model/ and motion/) instead of the shipped weights")
    asked = given.parse_args()
    table, found = Table("clip", title=f"PSNR in dB, {asked.steps} steps, motion {asked.motion}", box=None), []
    for name in PAIRS:
        table.add_column(name, justify="right")
        table.add_column("subject", justify="right")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for caption, figures in track(rows(asked, Path(folder)), "inverting", total=asked.clips):
            found.append(figures)
            table.add_row(caption, *(f"{figure:.1f}" for figure in figures))
    table.add_row("mean", *(f"{figure:.1f}" for figure in np.mean(found, axis=0)), style="bold")
    Console().print(table)
    print(f"{(time.perf_counter() - began) / asked.clips:.0f} s a clip")


if __name__ == "__main__":
    main()
