"""`u2net`: the salient subject of every frame, and of that the part that the user's points are on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vswap_kernel.api import Context, Facts
from vswap_kernel.types import ByteArray, Masks, PointQueries, Video
from vswap_masks.following import subject_masks
from vswap_masks.register import U2NetOptions
from vswap_salience.model import SalienceModel, check_model

_CHUNK = 16


class U2Net:
    """Masker that looks at each frame alone, then follows the subject's parts through time from the points on it."""

    def __init__(self, options: U2NetOptions, context: Context) -> None:
        self._options = options
        self._context = context

    def segment(self, video: Video, queries: PointQueries, /) -> Masks:
        """Masks of the video's size and length.

        Raises:
            InputError: the model is no ONNX file, or not of the right kind; nothing is found at the points.
            MissingExtraError: onnxruntime isn't installed.
        """
        scratch = self._context.scratch
        found = Masks.stream(self._find(video), scratch / "found.safetensors")
        missing = f"{self._options.model}: the model sees no subject"
        masks = subject_masks(found, queries, self._options, self._context.progress, missing)
        return Masks.stream(masks, scratch / "masks.safetensors")

    def _find(self, video: Video) -> Iterator[ByteArray]:
        """What the model takes for the subject, frame by frame: 0 or 255."""
        model = SalienceModel(self._options.model, self._options.normalisation, self._context.device)
        for start, frames in video.chunks(_CHUNK):
            likely = np.stack([model.likelihood(frame) for frame in frames])
            self._context.progress(start + len(frames), len(video), "finding the subject")
            yield (likely >= self._options.threshold).astype(np.uint8) * np.uint8(255)


def preflight(options: U2NetOptions, facts: Facts) -> None:
    """Check the model before anything is computed.

    Raises:
        InputError: it is no ONNX file, or not of the right kind.
        MissingExtraError: onnxruntime isn't installed.
    """
    check_model(options.model)
