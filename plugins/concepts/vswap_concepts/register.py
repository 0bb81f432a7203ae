"""Registers the built-in components of the family `concept`."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from vswap_kernel.api import ComponentSpec, InputPath, Options, hookimpl


class PhotoOptions(Options):
    """Options of `photo`."""

    image: InputPath = Field(description="picture of the new subject: PNG with transparency, or any picture")
    points: InputPath = Field(description="points file set on that picture, with the names of the video's points")
    mask: InputPath | None = Field(
        None, description="black and white picture of the same size, white where the subject is"
    )
    model: InputPath | None = Field(None, description="U^2-Net ONNX file that cuts the subject out")


@hookimpl
def vswap_concepts() -> Iterable[ComponentSpec]:
    """`photo`."""
    yield ComponentSpec(
        "photo",
        "vswap_concepts.photo:Photo",
        PhotoOptions,
        "a picture of the new subject, cut out by its transparency, a mask or U^2-Net",
        requires=("cv2",),
        install="pip install 'vswap[opencv]'",
        capabilities=("cutout",),
        preflight="vswap_concepts.photo:preflight",
    )
