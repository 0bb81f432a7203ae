"""`u2net`: the salient subject of every frame, and of that the part that the user's points are on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError
from vswap_kernel.types import BoolArray, ByteArray, Masks, PointQueries, Video
from vswap_masks.components import follow_subject, label_parts
from vswap_masks.grow import grow_and_feather
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
        kept = self._follow(found, queries) if self._options.keep == "points" and len(queries.names) else None
        return Masks.stream(self._finish(found, kept), scratch / "masks.safetensors")

    def _find(self, video: Video) -> Iterator[ByteArray]:
        """What the model takes for the subject, frame by frame: 0 or 255."""
        model = SalienceModel(self._options.model, self._options.normalisation, self._context.device)
        for start, frames in video.chunks(_CHUNK):
            likely = np.stack([model.likelihood(frame) for frame in frames])
            self._context.progress(start + len(frames), len(video), "finding the subject")
            yield (likely >= self._options.threshold).astype(np.uint8) * np.uint8(255)

    def _follow(self, found: Masks, queries: PointQueries) -> list[NDArray[np.int32]]:
        """The labels of the parts to keep in each frame."""

        def mask_of(t: int) -> BoolArray:
            return np.asarray(found.frames[t] > 0)

        def report(done: int) -> None:
            self._context.progress(done, len(found), "following the subject")
            if done % _CHUNK == 0:
                found.release()

        kept = follow_subject(mask_of, len(found), queries, report)
        if not any(len(labels) for labels in kept):
            raise InputError(
                f"{self._options.model}: the model sees no subject at the points on frame {queries.frame.min()}; "
                "choose another keyframe, set masks.keep to all, or give masks by masks.name files"
            )
        return kept

    def _finish(self, found: Masks, kept: list[NDArray[np.int32]] | None) -> Iterator[ByteArray]:
        for start, masks in found.chunks(_CHUNK):
            subject = masks > 0
            if kept is not None:
                chosen = kept[start : start + len(masks)]
                parts = zip(subject, chosen, strict=True)
                subject = np.stack([np.isin(label_parts(mask), labels) for mask, labels in parts])
            yield grow_and_feather(subject, self._options.grow, self._options.feather)


def preflight(options: U2NetOptions, facts: Facts) -> None:
    """Check the model before anything is computed.

    Raises:
        InputError: it is no ONNX file, or not of the right kind.
        MissingExtraError: onnxruntime isn't installed.
    """
    check_model(options.model)
