"""Texture edits: an atlas' pictures as PNG, and the video rendered from edited ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from vswap_canonical.atlas.files import FILE, read_atlas
from vswap_canonical.atlas.layer import Layer
from vswap_canonical.atlas.model import Atlas
from vswap_canonical.atlas.sheets import LAYERS, picture_of
from vswap_kernel.encode import write_png, write_video
from vswap_kernel.errors import InputError
from vswap_kernel.pictures import read_image
from vswap_kernel.types import ByteArray, FloatArray, Video


def export_pictures(run: Path, out: Path) -> list[Path]:
    """Write both pictures of the run's atlas to the folder `out`; the paths written.

    Raises:
        InputError: the run has no atlas, or `out` can't be written.
    """
    atlas = _atlas_of(run)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: can't be made ({error.strerror}); give another folder") from None
    for name, file in LAYERS.items():
        write_png(out / file, picture_of(getattr(atlas, name)))
    return [out / file for file in LAYERS.values()]


def render_edited(run: Path, edited: Mapping[str, Path | None], out: Path, *, whole: bool = False) -> None:
    """Write the run's source video with edited pictures in place of the atlas' own.

    Args:
        edited: by layer ("subject", "background"), a PNG of the exported picture's size; None leaves it as it is. Where
            it is transparent, the picture stays as it was.
        whole: render everything from the atlas. Else only the change that the edit makes is added to the frames, which
            are sharper than the atlas.

    Raises:
        InputError: the run has no atlas, no picture is given, or one has another size.
    """
    if not whole and not any(edited.values()):
        raise InputError("give an edited picture, --subject or --background; or --whole for the atlas as it is")
    atlas, source = _atlas_of(run), Video.load(run / "stages" / "source")
    if len(source) != len(atlas.prior):
        raise InputError(f"{run}: its atlas has {len(atlas.prior)} frames, its video {len(source)}; run it anew")
    changes = {name: _change(getattr(atlas, name), path) for name, path in edited.items() if path is not None}
    write_video(out, _frames(atlas, source, changes, whole), source.fps)


def _atlas_of(run: Path) -> Atlas:
    path = run / "stages" / "canonical" / FILE
    if not path.is_file():
        raise InputError(f"{run}: no layered atlas there; give the run folder of a config with an `edit.move` and "
                         "`canonical: {name: layered-atlas}` (preset fast)")  # fmt: skip
    return read_atlas(path)[0]


def _change(layer: Layer, path: Path) -> Tensor:
    """What the edited picture adds to the layer's own, [1, 3, h, w]."""
    image = read_image(path)
    own = picture_of(layer)
    if image.shape[:2] != own.shape[:2]:
        sizes = (f"{shape[1]}x{shape[0]}" for shape in (image.shape, own.shape))
        raise InputError("{}: {} pixels, the atlas' picture has {}; edit it at its size".format(path, *sizes))
    share = image[..., 3:].astype(np.float32) / 255 if image.shape[2] == 4 else np.float32(1)
    added = share * (image[..., :3].astype(np.float32) - own) / 255
    return torch.from_numpy(added).movedim(-1, 0)[None]


@torch.no_grad()
def _frames(atlas: Atlas, source: Video, changes: Mapping[str, Tensor], whole: bool) -> Iterator[ByteArray]:
    """Frames uint8 [1, H, W, 3] of the video's size."""
    pictures = {name: getattr(atlas, name).picture.data for name in LAYERS}
    for frame in range(len(source)):
        shown = np.zeros((*atlas.size, 3), np.float32)
        if whole:
            _put(atlas, {name: own + changes.get(name, 0) for name, own in pictures.items()})
            shown = atlas.render(frame)[0].numpy()
        elif changes:
            shown = _added(atlas, frame, changes)
        large = cv2.resize(shown, source.size, interpolation=cv2.INTER_LINEAR) * np.float32(255)
        result = large if whole else source.frames[frame] + large
        yield result.round().clip(0, 255).astype(np.uint8)[None]
        source.release()
    _put(atlas, pictures)


def _put(atlas: Atlas, pictures: Mapping[str, Tensor]) -> None:
    for name, picture in pictures.items():
        getattr(atlas, name).picture.data = picture


def _added(atlas: Atlas, frame: int, changes: Mapping[str, Tensor]) -> FloatArray:
    """What the changes add to the frame, float32 [h, w, 3]."""
    _put(atlas, changes)
    one = torch.tensor([frame])
    rows, columns = atlas.every_row(one), torch.arange(atlas.size[1])
    opacity = atlas.opacity(one, rows)[0, ..., None]
    total = torch.zeros(*atlas.size, 3)
    for name in changes:
        layer: Layer = getattr(atlas, name)
        share = opacity if name == "subject" else 1 - opacity
        total += share * layer.colours(layer.uv_of_rows(one, rows, columns)[0])
    return np.asarray(total.numpy())
