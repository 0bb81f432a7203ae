"""Photographs set in motion: one is the ground, pieces of others move over it. Tracks are exact by construction.

Each layer has a map from pixels to places of its photograph in every frame: a homography that changes smoothly, and on
top of it a ripple. A track is the map's inverse, found by fixed-point iteration: the ripple's slope is well below one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn import functional

from vswap_kernel.pictures import read_image
from vswap_toybox.tracking.clips import TrackedClip, inside, uniform, whole

_RIPPLES = 3
_ITERATIONS = 30
_EDGE = 1.2  # pixels over which the edge of a piece fades
_PIECES = (1, 3)


def read_photos(folder: Path) -> list[Tensor]:
    """Every PNG and JPEG of a folder, by name: uint8 [3, H, W].

    Raises:
        FileNotFoundError: there is none.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no photographs (.png, .jpg) in it")
    return [torch.from_numpy(read_image(path)[..., :3].copy()).permute(2, 0, 1).contiguous() for path in paths]


@dataclass(frozen=True, eq=False)
class Layer:
    """A photograph that moves.

    Attributes:
        photo: uint8 [3, H, W].
        to_pixels: [T, 3, 3], homographies from the layer's plane (units of half a frame) to pixels.
        ripples: [T, K, 5] waves in the plane: frequency x and y, phase, amplitude x and y.
        centre, zoom: the plane's origin in the photograph, in its pixels, and photograph pixels in a unit.
        outline: [K, 2] of a piece: amplitude and phase of the waves of its radius; None for what is everywhere.
        radius: of the piece, in the plane.
    """

    photo: Tensor
    to_pixels: Tensor
    ripples: Tensor
    centre: Tensor
    zoom: float
    outline: Tensor | None = None
    radius: float = 1.0

    def plane(self, pixels: Tensor) -> Tensor:
        """Places [T, ..., 2] of the plane that are seen at pixels [T, ..., 2]."""
        flat = _project(torch.linalg.inv(self.to_pixels), pixels)
        return flat + self._ripple(flat)

    def pixels(self, plane: Tensor) -> Tensor:
        """Where places [N, 2] of the plane are seen: [T, N, 2]."""
        wanted = plane.expand(len(self.to_pixels), *plane.shape)
        flat = wanted
        for _ in range(_ITERATIONS):
            flat = wanted - self._ripple(flat)
        return _project(self.to_pixels, flat)

    def margin(self, plane: Tensor) -> Tensor:
        """How far [...] places are within the piece, in the plane; negative outside."""
        if self.outline is None:
            return plane.new_ones(plane.shape[:-1])
        angle = torch.atan2(plane[..., 1], plane[..., 0])
        order = torch.arange(1, len(self.outline) + 1)
        waves = self.outline[:, 0] * torch.sin(order * angle[..., None] + self.outline[:, 1])
        within: Tensor = self.radius * (1 + waves.sum(-1)) - plane.norm(dim=-1)
        return within

    def colours(self, plane: Tensor) -> Tensor:
        """The photograph at places [T, H, W, 2]: [T, 3, H, W]; beyond its border it is mirrored."""
        height, width = self.photo.shape[1:]
        place = plane * self.zoom + self.centre
        grid = (place + 0.5) * 2 / torch.tensor([width, height]) - 1
        photo = self.photo.float()[None].expand(len(plane), -1, -1, -1)
        return functional.grid_sample(photo, grid, padding_mode="reflection", align_corners=False)

    def _ripple(self, plane: Tensor) -> Tensor:
        frames, count = self.ripples.shape[:2]
        between = (1,) * (plane.dim() - 2)
        waves = self.ripples.reshape(frames, *between, count, 5)
        turn = plane[..., None, 0] * waves[..., 0] + plane[..., None, 1] * waves[..., 1] + waves[..., 2]
        return (torch.sin(turn)[..., None] * waves[..., 3:]).sum(-2)


def photo_clip(photos: list[Tensor], frames: int, size: int, points: int, draw: Generator) -> TrackedClip:
    """A clip of `size` x `size` pixels with tracks of `points` points, about as many on each layer.

    Args:
        photos: uint8 [3, H, W] each.
        frames, size, points: T, pixels a side, N.
        draw: every choice comes from it.
    """
    count = whole(draw, *_PIECES)
    layers = [_layer(photos, frames, size, draw, piece=number > 0) for number in range(count + 1)]
    pixels = _pixel_grid(size).expand(frames, -1, -1, -1)
    picture = torch.zeros(frames, 3, size, size)
    for layer in layers:
        plane = layer.plane(pixels)
        # the margin is in units of the plane; a unit is about half a frame
        scale = layer.to_pixels[:, :2, :2].det().abs().sqrt()[:, None, None]
        alpha = (layer.margin(plane) * scale / _EDGE + 0.5).clamp(0, 1)[:, None]
        picture += alpha * (layer.colours(plane) - picture)
    # the ground fills up what pieces that are hardly seen leave
    tracks = [_tracked(layers, number, size, points // len(layers), draw) for number in range(1, len(layers))]
    tracks.append(_tracked(layers, 0, size, points - sum(xy.shape[1] for xy, _ in tracks), draw))
    xy, visible = (torch.cat(parts, 1) for parts in zip(*tracks, strict=True))
    return TrackedClip(picture, xy, visible)


def _tracked(layers: list[Layer], number: int, size: int, count: int, draw: Generator) -> tuple[Tensor, Tensor]:
    """Points of one layer: seen at pixels drawn in frames drawn, if they are on the layer there."""
    layer, frames = layers[number], len(layers[0].to_pixels)
    drawn = torch.rand(frames, 16 * count, 2, generator=draw) * size - 0.5
    plane = layer.plane(drawn)
    on = (layer.margin(plane) > 0.03).flatten().nonzero()[:, 0]
    chosen = plane.flatten(0, 1)[on[torch.randperm(len(on), generator=draw)[:count]]]
    xy = layer.pixels(chosen)
    visible = inside(xy, size, size)
    for above in layers[number + 1 :]:
        visible &= above.margin(above.plane(xy)) < 0
    return xy, visible


def _layer(photos: list[Tensor], frames: int, size: int, draw: Generator, *, piece: bool) -> Layer:
    photo = photos[whole(draw, 0, len(photos) - 1)]
    height, width = photo.shape[1:]
    # the frame shows 0.3 to 0.9 of the shorter side
    zoom = min(height, width) / 2 * uniform(draw, 0.3, 0.9)
    centre = torch.tensor([width * uniform(draw, 0.25, 0.75), height * uniform(draw, 0.25, 0.75)])
    speed = uniform(draw, 0.1, 1.0)
    motion = _homographies(frames, draw, 1.3 * speed if piece else 0.6 * speed, speed)
    frame = torch.tensor([[size / 2, 0, (size - 1) / 2], [0, size / 2, (size - 1) / 2], [0, 0, 1]])
    calm = uniform(draw, 0, 1) < 0.4
    ripples = _ripples(frames, draw, 0.0 if calm else uniform(draw, 0.02, 0.25))
    if not piece:
        return Layer(photo, frame @ motion, ripples, centre, zoom)
    outline = torch.stack([torch.rand(5, generator=draw) * 0.5 / torch.arange(1, 6), _angles(draw, 5)], 1)
    return Layer(photo, frame @ motion, ripples, centre, zoom, outline, uniform(draw, 0.15, 0.55))


def _homographies(frames: int, draw: Generator, way: float, change: float) -> Tensor:
    """[T, 3, 3]: shifts of up to about `way`, turns, scales and tilts in proportion to `change`."""
    x, y = (_course(frames, draw, way, rest=0.4) for _ in range(2))
    angle = _course(frames, draw, 0.7 * change, rest=math.pi if uniform(draw, 0, 1) < 0.1 else 0.3)
    wide = torch.exp(_course(frames, draw, 0.3 * change, rest=0.15))
    high = wide * torch.exp(_course(frames, draw, 0.12 * change, rest=0.1))
    shear, tilt_x, tilt_y = (_course(frames, draw, amount * change, rest=0.05) for amount in (0.2, 0.12, 0.12))
    zero, one, cosine, sine = torch.zeros(frames), torch.ones(frames), angle.cos(), angle.sin()
    turn = torch.stack([cosine, -sine, x, sine, cosine, y, zero, zero, one], 1).reshape(-1, 3, 3)
    form = torch.stack([wide, shear, zero, zero, high, zero, tilt_x, tilt_y, one], 1).reshape(-1, 3, 3)
    return turn @ form


def _course(frames: int, draw: Generator, amount: float, *, rest: float) -> Tensor:
    """[T] a smooth course: somewhere within `rest`, a drift, and a slow and a faster wave."""
    time = torch.linspace(-0.5, 0.5, frames)
    start, drift, slow, fast = (uniform(draw, -1, 1) for _ in range(4))
    turns, phases = uniform(draw, 0.4, 1.2), _angles(draw, 2)
    waves = 0.35 * slow * torch.sin(2 * math.pi * turns * time + phases[0])
    waves += 0.12 * fast * torch.sin(2 * math.pi * 2.3 * turns * time + phases[1])
    return rest * start + amount * (drift * time + waves)


def _ripples(frames: int, draw: Generator, slope: float) -> Tensor:
    """[T, K, 5] waves that swell and travel; the sum of their slopes stays below about `slope` times 1.5."""
    frequency = 2.0 + 5.0 * torch.rand(_RIPPLES, 1, generator=draw)
    heading, phase, pull = (_angles(draw, _RIPPLES)[:, None] for _ in range(3))
    time = torch.linspace(0, 1, frames)
    travel = phase + 2 * torch.rand(_RIPPLES, 1, generator=draw) * time
    swell = torch.sin(2 * math.pi * torch.rand(_RIPPLES, 1, generator=draw) * time + _angles(draw, _RIPPLES)[:, None])
    amplitude = slope / _RIPPLES / frequency * swell
    waves = torch.broadcast_tensors(
        frequency * heading.cos(), frequency * heading.sin(), travel, amplitude * pull.cos(), amplitude * pull.sin()
    )
    return torch.stack(waves, -1).transpose(0, 1)


def _angles(draw: Generator, count: int) -> Tensor:
    return 2 * math.pi * torch.rand(count, generator=draw)


def _pixel_grid(size: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.stack([x, y], -1).float()


def _project(maps: Tensor, places: Tensor) -> Tensor:
    """Places [T, ..., 2] taken by homographies [T, 3, 3]."""
    flat = places.reshape(len(maps), -1, 2)
    taken = flat @ maps[:, :, :2].transpose(1, 2) + maps[:, None, :, 2]
    return (taken[..., :2] / taken[..., 2:].clamp(min=0.1)).reshape(places.shape)
