"""Registers the built-in components of the family `canonical`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from vswap_kernel.api import ComponentSpec, Options, hookimpl


class SimilarityOptions(Options):
    """Options of `similarity`."""

    mirror: Literal["auto", "never"] = Field(
        "auto",
        description="auto: mirror the drag where a frame's points fit clearly better so: the subject turned round",
    )


@hookimpl
def vswap_canonicals() -> Iterable[ComponentSpec]:
    """Both carry a drag without any training."""
    yield ComponentSpec(
        "keyframe",
        "vswap_canonical.keyframe:Keyframe",
        summary="the drag on the keyframe, copied unchanged to every frame: the baseline",
    )
    yield ComponentSpec(
        "similarity",
        "vswap_canonical.similarity:Similarity",
        SimilarityOptions,
        "the drag on the keyframe, turned and grown with the subject as its tracked points are",
    )
