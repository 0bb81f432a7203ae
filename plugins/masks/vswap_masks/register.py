"""Registers the built-in components of the family `masks`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from vswap_kernel.api import ComponentSpec, InputPath, Options, hookimpl


class EdgeOptions(Options):
    """What all built-in maskers do to the edge of a mask. Lengths are pixels of the processed video."""

    grow: int = Field(3, ge=0, le=200, description="by how many pixels the subject is made wider on all sides")
    feather: int = Field(2, ge=0, le=200, description="over how many pixels the mask fades outside of that; 0: hard")


class FilesOptions(EdgeOptions):
    """Options of `files`."""

    path: InputPath = Field(description="a folder of mask pictures, or a video of masks")
    threshold: int = Field(128, ge=1, le=255, description="from this value on a pixel is the subject")


class U2NetOptions(EdgeOptions):
    """Options of `u2net`."""

    model: InputPath = Field(description="a U^2-Net or IS-Net as an ONNX file: u2netp, u2net, isnet of rembg fit")
    threshold: float = Field(0.5, gt=0, lt=1, description="from this likelihood on a pixel is the subject")
    keep: Literal["points", "all"] = Field(
        "points", description='"points": only what holds the points, followed through time; "all": all that is found'
    )
    normalisation: Literal["imagenet", "isnet"] = Field(
        "imagenet", description='how the model was trained to see colours: "isnet" for rembg\'s IS-Net files'
    )


@hookimpl
def vswap_masks() -> Iterable[ComponentSpec]:
    """Masks from files, and from a salient-object network that runs on a laptop."""
    yield ComponentSpec(
        "files",
        "vswap_masks.files:Files",
        FilesOptions,
        "masks read from a folder of pictures or a video",
        requires=("cv2",),
        install="pip install 'vswap[opencv]'",
        preflight="vswap_masks.files:preflight",
    )
    yield ComponentSpec(
        "u2net",
        "vswap_masks.u2net:U2Net",
        U2NetOptions,
        "the salient subject, found by a U^2-Net in ONNX",
        requires=("onnxruntime", "cv2"),
        install="pip install 'vswap[onnx,opencv]'",
        preflight="vswap_masks.u2net:preflight",
    )
