"""`photo`: the new subject as one picture with named points."""

from __future__ import annotations

from difflib import get_close_matches

import cv2
import numpy as np

from vswap_concepts.matte import decontaminated, largest_component, tightened
from vswap_concepts.register import PhotoOptions
from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError, nearest_first
from vswap_kernel.pictures import read_image
from vswap_kernel.points import PointsFile, read_points
from vswap_kernel.types import ByteArray, Cutout
from vswap_salience.model import SalienceModel, check_model


def _placed(file: PointsFile, size: tuple[int, int]) -> PointsFile:
    """The points scaled to a picture of `size`, all of them inside it."""
    xy = file.scaled(size)
    outside = ((xy < -0.5) | (xy > np.array(size) - 0.5)).any(1)
    if outside.any():
        first = int(np.argmax(outside))
        place = f"({xy[first, 0]:.1f}, {xy[first, 1]:.1f})"
        raise InputError(
            f"{file.path}: point {file.names[first]!r} at {place} is outside the {size[0]}x{size[1]} picture; "
            "set the points on the concept's own picture"
        )
    return PointsFile(file.path, file.names, xy, file.frame, size)


def preflight(options: PhotoOptions, facts: Facts) -> None:
    """Check the points against the picture and against the video's.

    Raises:
        InputError: a point outside the picture; no name in common; no way to cut the subject out; a model that is no
            U^2-Net.
        MissingExtraError: a model is needed and onnxruntime isn't installed.
    """
    file = read_points(options.points)
    image = read_image(options.image)
    _placed(file, (image.shape[1], image.shape[0]))
    if not set(file.names) & set(facts.point_names):
        raise InputError(
            f"{options.points}: no point has the name of a point of the video: here {', '.join(file.names)}; "
            f"in the video {', '.join(facts.point_names)} (for {file.names[0]!r}: "
            f"{nearest_first(file.names[0], facts.point_names)})"
        )
    _refuse_misspelt(file, facts.point_names)
    _require_cutout(options, image)
    if options.mask is None and options.model is not None:
        check_model(options.model)


def _refuse_misspelt(file: PointsFile, names: tuple[str, ...]) -> None:
    """A picture may have more points than the video, or fewer; two that nearly have one name are a slip."""
    free = {name.lower(): name for name in names if name not in file.names}
    for name in (name for name in file.names if name not in names):
        for near in get_close_matches(name.lower(), free, n=1, cutoff=0.74):
            if [c for c in near if c.isdigit()] == [c for c in name if c.isdigit()]:
                other = free[near]
                raise InputError(f"{file.path}: point {name!r} is not in the video, but {other!r} is; name them alike")


def _require_cutout(options: PhotoOptions, image: ByteArray) -> None:
    if options.mask is None and options.model is None and (image[..., 3] == 255).all():
        raise InputError(
            f"{options.image}: the picture has no transparency, so its subject can't be told from its background; "
            'use a PNG with alpha, or give "mask: FILE.png" (white where the subject is), or "model: u2netp.onnx"'
        )


def _alpha(options: PhotoOptions, image: ByteArray, device: str) -> ByteArray:
    """Alpha uint8 [H, W] of a picture uint8 [H, W, 4], from the mask, the model or its own transparency."""
    _require_cutout(options, image)
    if options.mask is not None:
        mask = read_image(options.mask)
        if mask.shape != image.shape:
            raise InputError(
                f"{options.mask}: {mask.shape[1]}x{mask.shape[0]} for a picture of {image.shape[1]}x{image.shape[0]}; "
                "the mask must have the picture's size"
            )
        return np.asarray(cv2.cvtColor(mask[..., :3], cv2.COLOR_RGB2GRAY), np.uint8)
    if options.model is not None:
        found = SalienceModel(options.model, device=device).likelihood(np.ascontiguousarray(image[..., :3]))
        return tightened(np.asarray(np.rint(found * 255), np.uint8))
    return np.ascontiguousarray(image[..., 3])


class Photo:
    """Implements `vswap_kernel.protocols.CutoutConcept`."""

    def __init__(self, options: PhotoOptions, context: Context) -> None:
        self._options, self._context = options, context

    def cutout(self) -> Cutout:
        """The picture with a clean alpha and its points.

        Raises:
            InputError: unreadable files, a point outside the picture, no way to cut the subject out, no subject found.
            MissingExtraError: a model is given and onnxruntime isn't installed.
        """
        image = read_image(self._options.image)
        points = _placed(read_points(self._options.points), (image.shape[1], image.shape[0]))
        alpha = largest_component(_alpha(self._options, image, self._context.device))
        if not (alpha > 127).any():
            raise InputError(f"{self._options.image}: no subject left after cutting it out; give a better mask")
        rgb = decontaminated(np.ascontiguousarray(image[..., :3]), alpha)
        return Cutout(np.dstack([rgb, alpha]), points.names, points.xy)
