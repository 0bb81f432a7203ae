"""Cases for the conformance kit whose points are joints: coloured spots on black, which `colour_vitpose` finds."""

from __future__ import annotations

from typing import Any

import numpy as np

from vswap_kernel.testing.case import Case
from vswap_kernel.types import Masks, PointQueries, PointTracks, Video

NAMES = ("nose", "left_eye", "right_eye")
"""Those that the network finds where it is red, green and blue."""
CORNERS = np.array([[0.0, 0.0], [20.0, 10.0], [5.0, 35.0]])
SIZE = (120, 100)
FRAMES = 12
RADIUS = 6.0  # pixels, at which a spot is e^(-1/2) as bright as in its middle
POST = 40  # pixels wide


def translation() -> Case:
    """All move by (2, 1) pixels a frame."""
    return _case("joints-translation", _along((30, 20), (52, 31)))


def rotation() -> Case:
    """All turn by 57 degrees about the first."""
    angle = np.linspace(-0.5, 0.5, FRAMES)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    return _case("joints-rotation", np.einsum("tij,nj->tni", turn, CORNERS) + np.array([50.0, 30.0]))


def scale() -> Case:
    """All grow apart, to 1.6 times the distances."""
    return _case("joints-scale", (40.0, 20.0) + CORNERS * np.linspace(1, 1.6, FRAMES)[:, None, None])


def occlusion() -> Case:
    """A black post passes in front."""
    return _case("joints-occlusion", _along((45, 30), (47, 31), 24), post=np.linspace(-POST, SIZE[0] + POST, 24))


def out_of_frame() -> Case:
    """All leave to the right and come back."""
    away = np.sin(np.linspace(0, np.pi, 30))[:, None, None] ** 2
    return _case("joints-out-of-frame", (50.0, 30.0) + CORNERS + away * (80.0, 0.0))


def mid_video_query() -> Case:
    """All move to the left; they are set halfway."""
    return _case("joints-mid-video-query", _along((75, 40), (40, 30)), keyframe=FRAMES // 2)


def _along(start: tuple[float, float], stop: tuple[float, float], frames: int = FRAMES) -> Any:
    return np.linspace(start, stop, frames)[:, None] + CORNERS


def _case(name: str, places: Any, keyframe: int = 0, post: Any = None) -> Case:
    """Spots at places [T, 3, 2]; the middle of the post is at `post` [T], where there is one."""
    across, down = np.arange(SIZE[0]), np.arange(SIZE[1])[:, None]
    square = np.square(across - places[..., 0, None, None]) + np.square(down - places[..., 1, None, None])
    bright = np.exp(-square / (2 * RADIUS**2))
    visible = ((places >= -0.5) & (places <= np.array(SIZE) - 0.5)).all(-1)
    if post is not None:
        bright *= (np.abs(across - post[:, None]) > POST / 2)[:, None, None]
        visible &= np.abs(places[..., 0] - post[:, None]) > POST / 2
    video = Video((255 * bright).astype(np.uint8).transpose(0, 2, 3, 1).copy(), 25.0)
    xy = places.astype(np.float32)
    masks = Masks(np.where(bright.max(1) > 0.5, 255, 0).astype(np.uint8))
    queries = PointQueries(NAMES, np.full(3, keyframe, np.int32), xy[keyframe])
    tracks = PointTracks(NAMES, xy, visible, visible.astype(np.float32), video.size)
    return Case(name, video, masks, queries, tracks, points="coco-joints")
