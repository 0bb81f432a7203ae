"""Frames as a network was trained to see them: resized, and normalised by its own colour statistics."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from transformers.utils import cached_file

from vswap_kernel.errors import InputError
from vswap_kernel.types import ByteArray
from vswap_pretrained.kinds import Weights

Colour = tuple[float, float, float]

_FILES = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
_SECTIONS = ("image_processor", "video_processor")


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of red, green and blue, for values in 0..1; by default those of ImageNet's pictures.

    transformers' own processors are not used, because those of some models need torchvision.
    """

    mean: Colour = (0.485, 0.456, 0.406)
    deviation: Colour = (0.229, 0.224, 0.225)

    @classmethod
    def read(cls, weights: Weights, revision: str | None, field: str) -> Normalisation:
        """`image_mean` and `image_std` of the model's preprocessor_config.json, or of the processor_config.json that
        newer versions write; ImageNet's where neither says.

        Raises:
            InputError: a file that can't be read, or says something else than three numbers each.
        """
        for name in _FILES:
            path = _find(weights, revision, name)
            if path is None:
                continue
            try:
                said = json.loads(path.read_text())
                for section in (said, *(said.get(key) or {} for key in _SECTIONS)):
                    if "image_mean" in section and "image_std" in section:
                        return cls(_colour(section["image_mean"]), _colour(section["image_std"]))
            except (OSError, ValueError, TypeError, AttributeError) as error:
                raise InputError(
                    f"{field}: {path}: image_mean and image_std can't be read ({error}); write three numbers each"
                ) from None
        return cls()

    def pixels(
        self, frames: ByteArray, size: tuple[int, int], mode: Literal["bilinear", "bicubic"], device: str
    ) -> Tensor:
        """Pixel values float32 [n, 3, h, w] on `device`, of frames uint8 [n, H, W, 3] stretched to `size` (h, w)."""
        colours = torch.from_numpy(np.array(frames)).to(device).movedim(-1, 1).float()
        resized = interpolate(colours, size, mode=mode, antialias=True).clamp(0, 255) / 255
        mean, deviation = (torch.tensor(values, device=device)[:, None, None] for values in (self.mean, self.deviation))
        return (resized - mean) / deviation


def _colour(values: Any) -> Colour:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _find(weights: Weights, revision: str | None, name: str) -> Path | None:
    """A file of the model: None where it has none, or where the hub can't be asked."""
    if isinstance(weights, Path):
        path = weights / name
        return path if path.is_file() else None
    try:
        found = cached_file(weights, name, revision=revision)
    except OSError:
        return None
    return None if found is None else Path(found)
