"""Writes a clip as the job that any user could have written: frames, masks, points, a picture, and a config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from vswap_kernel.encode import write_png
from vswap_kernel.points import PointsFile, write_points
from vswap_kernel.types import Masks, PointTracks, Video
from vswap_toybox.clip import Clip


def write_clip(clip: Clip, folder: Path) -> Path:
    """Write `clip` into `folder`, made if it is missing, and return the path of its config.

    The folder holds source/ and masks/ (PNG, one a frame), points.json, concept.png with concept.points.json, the exact
    answer in answer/ and answer_masks/, truth.json (where the points of both subjects truly are) and swap.yaml.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = (
        ("source", clip.video),
        ("masks", clip.masks),
        ("answer", clip.answer.video),
        ("answer_masks", clip.answer.subject),
    )
    for name, frames in parts:
        _write_frames(frames, folder / name)
    write_points(PointsFile(folder / "points.json", clip.queries.names, clip.queries.xy, clip.keyframe, clip.size))
    picture = clip.cutout
    write_png(folder / "concept.png", picture.rgba)
    height, width = picture.rgba.shape[:2]
    write_points(PointsFile(folder / "concept.points.json", picture.names, picture.xy, 0, (width, height)))
    truth = {
        "source": clip.subject.caption,
        "target": clip.target.caption,
        "scene": clip.scene.caption,
        "keyframe": clip.keyframe,
        "size": list(clip.size),
        "tracks": _as_json(clip.tracks),
        "answer_tracks": _as_json(clip.answer_tracks),
    }
    (folder / "truth.json").write_text(json.dumps(truth) + "\n")
    config = folder / "swap.yaml"
    config.write_text(yaml.safe_dump(_config(clip), sort_keys=False, default_flow_style=None, width=120))
    return config


def _write_frames(frames: Video | Masks, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for start, chunk in frames.chunks():
        for index, picture in enumerate(chunk, start):
            write_png(folder / f"{index:05d}.png", picture)
    # An earlier, longer clip would otherwise leave its last frames behind.
    for stale in folder.glob("[0-9]*.png"):
        if int(stale.stem) >= len(frames):
            stale.unlink()


def _as_json(tracks: PointTracks) -> dict[str, Any]:
    """{name: {"xy": [[x, y], ...], "visible": [...]}}, one entry a frame."""
    return {
        name: {"xy": tracks.xy[:, i].round(3).astype(float).tolist(), "visible": tracks.visible[:, i].tolist()}
        for i, name in enumerate(tracks.names)
    }


def _config(clip: Clip) -> dict[str, Any]:
    return {
        "video": {"path": "source", "fps": clip.video.fps},
        "points": {"file": "points.json"},
        "tracker": {"name": "lucas-kanade"},
        "masks": {"name": "files", "path": "masks"},
        "canonical": {"name": "keyframe"},
        "concept": {"name": "photo", "image": "concept.png", "points": "concept.points.json"},
        "swapper": {"name": "warp"},
        "metrics": [
            {"name": "background"},
            {"name": "temporal"},
            {"name": "point-alignment"},
            {"name": "exact-answer", "video": "answer", "masks": "answer_masks"},
        ],
        "seed": 0,
    }
