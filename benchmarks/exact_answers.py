"""How near `warp` comes to the exact answer, on Toybox clips: `python benchmarks/exact_answers.py --clips 12`.

Each clip is an ordinary job (`vswap toybox render` writes the same), run whole: tracking, clean plate, swap. Half of
the clips keep the shape of the subject and half change it. Prints a table; "source psnr" is what leaving the clip as it
is scores.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from vswap_kernel.run import run_config
from vswap_toybox.clip import Clip, clip
from vswap_toybox.subject import CLASSES
from vswap_toybox.writing import write_clip

COLUMNS = ("subject_psnr", "subject_ssim", "mask_iou", "frame_psnr")


def source_psnr(made: Clip) -> float:
    """Subject PSNR of the source itself, dB, over the union of the old subject's and the new one's masks."""
    union = (made.masks.frames > 0) | (made.answer.subject.frames > 0)
    error = made.video.frames[union].astype(np.float64) - made.answer.video.frames[union]
    return float(10 * np.log10(255**2 / (error**2).mean()))


def main() -> None:
    """Render, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--frames", type=int, default=24)
    chosen = parser.parse_args()
    table = Table("clip", "swap", "source psnr", *COLUMNS, "background", box=None)
    rows = []
    for index in range(chosen.clips):
        old = CLASSES[index % len(CLASSES)]
        new = CLASSES[(index + 1) % len(CLASSES)] if index % 2 else None
        made = clip(chosen.seed + index, frames=chosen.frames, size=(128, 128), subject_class=old, target_class=new)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            metrics = run_config(write_clip(made, folder), out=folder / "run", store=folder / "store").metrics
        values = [metrics[f"exact-answer.{column}"] or np.nan for column in COLUMNS]
        rows.append([source_psnr(made), *values, metrics["background.background_psnr"]])
        table.add_row(str(chosen.seed + index), f"{old} -> {new or old}", *(f"{value:.2f}" for value in rows[-1]))
    for label, part in (("same shape", rows[::2]), ("other shape", rows[1::2]), ("all", rows)):
        if part:
            table.add_row("mean", label, *(f"{value:.2f}" for value in np.array(part, float).mean(0)))
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
