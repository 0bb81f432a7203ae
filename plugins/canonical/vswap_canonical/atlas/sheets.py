"""What a person looks at: the two pictures of an atlas, and frames beside what it makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from vswap_canonical.atlas.layer import Layer
from vswap_canonical.atlas.model import Atlas
from vswap_kernel.pictures import encode_png
from vswap_kernel.types import ByteArray

_SHOWN = 6
_GAP = 4
LAYERS = {"subject": "atlas-subject.png", "background": "atlas-background.png"}
RECONSTRUCTION = "reconstruction.png"


def picture_of(layer: Layer) -> ByteArray:
    """uint8 [h, w, 3]."""
    colours = layer.picture.detach()[0].movedim(0, -1).clamp(0, 1)
    return np.asarray((colours * 255).round().byte().numpy())


def write_pictures(out: Path, atlas: Atlas, frames: ByteArray, psnr: float) -> None:
    """The pictures, and `pictures.json` with their captions, which the report shows."""
    captions = {
        LAYERS["subject"]: "The subject of all frames in one picture",
        LAYERS["background"]: "What is behind it in all frames, in one picture",
        RECONSTRUCTION: f"Above: frames of the video. Below: what the atlas makes of them ({psnr:.1f} dB over all)",
    }
    for name, file in LAYERS.items():
        (out / file).write_bytes(encode_png(picture_of(getattr(atlas, name))))
    (out / RECONSTRUCTION).write_bytes(encode_png(_beside(atlas, frames)))
    (out / "pictures.json").write_text(json.dumps(captions, indent=1) + "\n")


def _beside(atlas: Atlas, frames: ByteArray) -> ByteArray:
    """Some frames in a row, their renderings below."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, _SHOWN).round().astype(int))
    columns = []
    for frame in chosen:
        rendered = (atlas.render(int(frame))[0] * 255).round().byte().numpy()
        gap = np.full((_GAP, *frames.shape[2:]), 255, np.uint8)
        column = np.concatenate([frames[frame], gap, rendered])
        columns += [column, np.full((len(column), _GAP, 3), 255, np.uint8)]
    return np.concatenate(columns[:-1], axis=1)


def reconstruction_psnr(atlas: Atlas, frames: ByteArray) -> float:
    """PSNR in dB over all pixels of all frames."""
    total = 0.0
    for frame, seen in enumerate(frames):
        total += float(np.square(atlas.render(frame)[0].numpy() - seen.astype(np.float32) / 255).mean())
    return float(-10 * np.log10(max(total / len(frames), 1e-10)))
