"""What the Toybox model draws: a contact sheet of text-to-video samples, a labelled row for each of twelve prompts.

    python benchmarks/toybox_samples.py --out samples.png
    python benchmarks/toybox_samples.py --out samples.png --weights toybox-train/export --seed 3

Backbone and motion module are made as a job makes them, and stepped by `point-diffusion`'s own DDIM and guidance. Row
number n is drawn from seed 1000 * SEED + n and nothing is picked. The prompts are those of the training's own sheets;
the last two are looks that training never shows.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from inversion_round_trip import components
from rich.progress import track

FRAMES, SHOWN, CELLS = 16, 8, 16
ENLARGED, GAP, LABEL = 2, 2, 18  # times; pixels between frames; pixels of a row's label


def drawn(backbone: Any, motion: Any, prompt: str, seed: int, steps: int, scale: float) -> np.ndarray:
    """A clip uint8 [16, 64, 64, 3]."""
    import torch

    from vswap_kernel.types import Prompt
    from vswap_swappers.point_diffusion.ddim import Ladder, sampled
    from vswap_swappers.point_diffusion.guidance import Guidance, text_pair

    text, empty = (backbone.embed_text(Prompt(words)) for words in (prompt, ""))
    ladder = Ladder.of(backbone.alphas_cumprod, steps)
    noise = torch.randn((FRAMES, 4, CELLS, CELLS), generator=torch.Generator().manual_seed(seed))
    with motion.attach(backbone):
        *_, (latents, _) = sampled(Guidance(backbone, text_pair(empty, text), scale, steps), noise, ladder)
    return backbone.decode(latents)


def strip(frames: np.ndarray, label: str) -> np.ndarray:
    """Some of the frames side by side, enlarged, with the label above them: uint8 [h, w, 3]."""
    from PIL import Image, ImageDraw

    chosen = frames[np.linspace(0, len(frames) - 1, SHOWN).round().astype(int)]
    large = chosen.repeat(ENLARGED, 1).repeat(ENLARGED, 2)
    row = np.concatenate(list(np.pad(large, ((0, 0), (LABEL, GAP), (0, GAP), (0, 0)), constant_values=255)), 1)
    picture = Image.fromarray(row)
    ImageDraw.Draw(picture).text((2, 3), label, fill=(0, 0, 0))
    return np.asarray(picture)


def main() -> None:
    """Draw the clips and write the sheet."""
    from vswap_kernel.encode import write_png
    from vswap_toybox.training.denoiser import PROMPTS

    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--out", type=Path, required=True, help="PNG")
    given.add_argument("--seed", type=int, default=0)
    given.add_argument("--steps", type=int, default=25)
    given.add_argument("--guidance", type=float, default=3.0)
    given.add_argument("--weights", type=Path, help="an export (model/ and motion/) instead of the shipped weights")
    asked = given.parse_args()
    strips = []
    with tempfile.TemporaryDirectory() as folder:
        backbone, motion = components(asked.weights, "toybox", Path(folder))
        for number, prompt in track(list(enumerate(PROMPTS)), "drawing"):
            seed = 1000 * asked.seed + number
            frames = drawn(backbone, motion, prompt, seed, asked.steps, asked.guidance)
            strips.append(strip(frames, f"{prompt}  (seed {seed})"))
    write_png(asked.out, np.concatenate(strips))
    print(asked.out)


if __name__ == "__main__":
    main()
