"""A U^2-Net in ONNX: how likely each pixel belongs to the salient subject of a picture.

Qin et al., "U^2-Net: Going Deeper with Nested U-Structure for Salient Object Detection" (Pattern Recognition 2020), and
"Highly Accurate Dichotomous Image Segmentation" (IS-Net, ECCV 2022). Input and output are treated as rembg does, whose
files these are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from vswap_kernel.errors import InputError
from vswap_kernel.types import ByteArray, FloatArray
from vswap_pretrained.onnx_files import open_session

if TYPE_CHECKING:
    import onnxruntime

Normalisation = Literal["imagenet", "isnet"]

_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = {"imagenet": np.array([0.229, 0.224, 0.225], np.float32), "isnet": np.ones(3, np.float32)}
_USUAL_SIDE = 320
_HINT = "u2netp.onnx of rembg is one"


class SalienceModel:
    """One loaded model."""

    def __init__(self, path: Path, normalisation: Normalisation = "imagenet", device: str = "cpu") -> None:
        """Load the model.

        Args:
            path: the ONNX file.
            normalisation: how it was trained to see colours: "isnet" for rembg's IS-Net files.
            device: as in `Context`; a GPU is used where onnxruntime has one.

        Raises:
            MissingExtraError: onnxruntime isn't installed.
            InputError: not an ONNX file, or not a model from pictures [1, 3, H, W] to masks [1, 1, H, W].
        """
        self._path, self._deviation = path, _DEVIATION[normalisation]
        self._session = open_session(path, device, hint=_HINT)
        _require_u2net(path, self._session)
        (given,), made = self._session.get_inputs(), self._session.get_outputs()
        self._input, self._output = given.name, made[0].name
        height, width = (side if isinstance(side, int) else _USUAL_SIDE for side in given.shape[2:])
        self._size = (width, height)

    def likelihood(self, picture: ByteArray) -> FloatArray:
        """Likelihood 0..1, stretched to the whole range, float32 [H, W], of the subject in `picture` [H, W, 3] RGB.

        Raises:
            InputError: the model answers something else than a mask.
        """
        small = np.asarray(cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA), np.float32)
        normalised = (small / max(float(small.max()), 1e-6) - _MEAN) / self._deviation
        feed = np.ascontiguousarray(normalised.transpose(2, 0, 1)[None], np.float32)
        answer = np.asarray(self._session.run([self._output], {self._input: feed})[0], np.float32)
        if answer.ndim != 4 or answer.shape[:2] != (1, 1):
            raise InputError(f"{self._path}: answers {list(answer.shape)}, expected [1, 1, H, W]; use a U^2-Net")
        low, high = float(answer.min()), float(answer.max())
        stretched = (answer[0, 0] - low) / max(high - low, 1e-6)
        full = cv2.resize(stretched, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        return np.clip(np.asarray(full, np.float32), 0.0, 1.0)


def check_model(path: Path) -> None:
    """Open the model and look at what it takes and gives, without running it.

    Raises:
        MissingExtraError: onnxruntime isn't installed.
        InputError: as of `SalienceModel`.
    """
    _require_u2net(path, open_session(path, optimise=False, hint=_HINT))


def _require_u2net(path: Path, session: onnxruntime.InferenceSession) -> None:
    """Refuse what doesn't say that it makes masks [1, 1, H, W] of pictures [1, 3, H, W]; axes may be left open."""
    given, made = ([list(value.shape) for value in values] for values in (session.get_inputs(), session.get_outputs()))
    if len(given) != 1 or not _fits(given[0], 3):
        shapes = ", ".join(map(str, given))
        raise InputError(f"{path}: expected one input [1, 3, H, W], got {shapes or 'none'}; use a U^2-Net")
    # an empty shape is one that the file leaves open: the answer itself tells
    if not made or (made[0] and not _fits(made[0], 1)):
        raise InputError(f"{path}: answers {made[0] if made else 'nothing'}, expected [1, 1, H, W]; use a U^2-Net")


def _fits(shape: list[int | str | None], channels: int) -> bool:
    """Whether a shape as ONNX declares it can be [1, channels, H, W]: numbers, and names or None for open axes."""
    wanted = (1, channels, None, None)
    return len(shape) == 4 and all(
        side is None or not isinstance(said, int) or said == side for said, side in zip(shape, wanted, strict=True)
    )
