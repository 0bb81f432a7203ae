"""Registers the built-in components of the family `metrics`."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from vswap_kernel.api import ComponentSpec, InputPath, Options, hookimpl

_INSTALL = "pip install 'vswap[opencv]'"


class ExactAnswerOptions(Options):
    """Options of `exact-answer`."""

    video: InputPath = Field(description="the exact answer: a video or a folder of frames, as many and as large")
    masks: InputPath | None = Field(None, description="where the subject is in the answer: a folder or video of masks")


@hookimpl
def vswap_metrics() -> Iterable[ComponentSpec]:
    """Background, temporal consistency, point alignment, and the distance to a known exact answer."""
    yield ComponentSpec(
        "background",
        "vswap_metrics.background:Background",
        summary="PSNR and SSIM outside the masks of the old and the new subject",
        requires=("cv2",),
        install=_INSTALL,
    )
    yield ComponentSpec(
        "temporal",
        "vswap_metrics.temporal:Temporal",
        summary="warp error between neighbouring frames (optical flow), against the source's own",
        requires=("cv2",),
        install=_INSTALL,
    )
    yield ComponentSpec(
        "point-alignment",
        "vswap_metrics.point_alignment:PointAlignment",
        summary="distance in pixels of the points, tracked again in the result, to where they were asked to be",
        preflight="vswap_metrics.point_alignment:preflight",
    )
    yield ComponentSpec(
        "exact-answer",
        "vswap_metrics.exact_answer:ExactAnswer",
        ExactAnswerOptions,
        summary="PSNR, SSIM and mask IoU against the exact answer of the swap, where one is known",
        preflight="vswap_metrics.exact_answer:preflight",
        requires=("cv2",),
        install=_INSTALL,
    )
