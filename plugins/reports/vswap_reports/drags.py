"""A contact sheet of drags: an arrow from where each moved point is to where it is asked to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from vswap_kernel.api import FinishedRun
from vswap_kernel.config import EditConfig
from vswap_kernel.types import FloatArray, PointTracks
from vswap_reports.overlays import Overlay, Picture

_RADIUS = 4  # of the disc at the tip
_HEAD, _WIDTH = 8.0, 6.4  # of an arrow's head


@dataclass(frozen=True)
class Arrow:
    """SVG path data in the picture's pixels; no head where the arrow is shorter than that. start is (x, y)."""

    name: str
    shaft: str
    head: str
    start: tuple[str, str]
    colour: str
    valid: bool


@dataclass(frozen=True)
class DragPicture:
    """A frame of the source, with a disc on each target, and the arrows that end there."""

    picture: Picture
    arrows: tuple[Arrow, ...]
    keyframe: bool
    radius: int = _RADIUS


def drag_sheet(
    run: FinishedRun, colours: Mapping[str, str], spread: Sequence[int], width: int, font: int
) -> list[DragPicture]:
    """The frames `spread`, with all keyframes among them; none where no point is moved.

    Args:
        colours: "#rrggbb" by point name.
        width: of the pictures in pixels. font: size of the names in them.
    """
    tracks, targets = (run.artefacts.get(name) for name in ("tracks", "targets"))
    if tracks is None or targets is None:
        return []
    keyframes = moved_on_keyframes(run.folder, tracks)
    moved = {name for names in keyframes.values() for name in names}
    names = [name for name in targets.names if name in moved and name in tracks.names]
    if not names:
        return []
    start, end = tracks.subset(names), targets.subset(names)
    overlay = Overlay(run.source, end, None, colours, width)
    return [
        _picture(overlay, start, end, frame, keyframes.get(frame, []), font)
        for frame in with_keyframes(spread, keyframes)
    ]


def _picture(
    overlay: Overlay, start: PointTracks, end: PointTracks, frame: int, asked: Sequence[str], font: int
) -> DragPicture:
    """One frame of the sheet; `asked` are the points that are moved on it."""
    first, last = (overlay.places(points, frame) for points in (start, end))
    along = np.linspace(0, 0.8, 6, dtype=np.float32)[:, None, None]
    shafts = (first + along * (last - first)).reshape(-1, 2)
    caption = f"frame {frame}, keyframe of {', '.join(asked)}" if asked else f"frame {frame}"
    picture = overlay.picture(frame, caption, font, shafts)
    arrows = tuple(
        Arrow(mark.name, shaft, head, place, mark.colour, mark.visible)
        for mark, (shaft, head, place) in zip(picture.marks, arrow_paths(first, last), strict=True)
    )
    return DragPicture(picture, arrows, bool(asked))


def moved_on_keyframes(folder: Path, tracks: PointTracks) -> dict[int, list[str]]:
    """The points that the config of a run folder moves, by keyframe; empty where there is no config."""
    file = folder / "config.yaml"
    config = yaml.safe_load(file.read_text()) if file.is_file() else {}
    edit = EditConfig.model_validate(config.get("edit") or {})
    set_on = 0 if tracks.keyframe is None or not tracks.names else int(tracks.keyframe[0])
    return {frame: [*move] for _, frame, move in edit.keyframes(set_on) if move}


def with_keyframes(spread: Sequence[int], keyframes: Mapping[int, object]) -> list[int]:
    """`spread`, each keyframe that isn't there in the place of the nearest frame that is none, in order."""
    shown = list(spread)
    for keyframe in keyframes:
        if keyframe not in shown:
            spare = [frame for frame in shown if frame not in keyframes]
            if spare:
                shown.remove(min(spare, key=lambda frame: abs(frame - keyframe)))
            shown.append(keyframe)
    return sorted(shown)


def arrow_paths(start: FloatArray, end: FloatArray) -> list[tuple[str, str, tuple[str, str]]]:
    """(shaft, head, place of the start) of arrows between places float32 [N, 2]; they end at the rim of the disc."""
    step = (end - start).astype(np.float64)
    length = np.hypot(*step.T)[:, None]
    along = step / np.maximum(length, 1e-6)
    across = along[:, ::-1] * (-_WIDTH / 2, _WIDTH / 2)
    tip = end - along * _RADIUS
    neck = tip - along * _HEAD
    long = length[:, 0] > _RADIUS + _HEAD
    corners = np.stack([tip, neck + across, neck - across], axis=1)
    shafts = np.stack([start, np.where(long[:, None], neck, end)], axis=1)
    rows = zip(shafts, corners, long.tolist(), start.tolist(), strict=True)
    return [
        (_path(shaft), f"{_path(head)}Z" if headed else "", (f"{x:.1f}", f"{y:.1f}"))
        for shaft, head, headed, (x, y) in rows
    ]


def _path(places: FloatArray) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places.tolist())
