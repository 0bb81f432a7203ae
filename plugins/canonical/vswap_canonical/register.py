"""Registers the built-in components of the family `canonical`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from vswap_kernel.api import ComponentSpec, InputPath, Options, hookimpl

if TYPE_CHECKING:
    import typer


def _smooth(default: float) -> Any:
    return Field(
        default,
        ge=0,
        le=100,
        description="frames, standard deviation: displacements are smoothed over time by that much, but for the "
        "keyframe's; 0 for not at all",
    )


def _mirror() -> Any:
    return Field(
        "auto",
        description="auto: mirror the drag where a frame's points fit clearly better so: the subject turned round",
    )


def _noise() -> Any:
    return Field(
        0.5, gt=0, le=50, description="pixels by which tracks are off; a point that is off by much more is disbelieved"
    )


class SimilarityOptions(Options):
    """Options of `similarity`."""

    mirror: Literal["auto", "never"] = _mirror()
    smooth: float = _smooth(0.0)


class HomographyOptions(Options):
    """Options of `homography`."""

    mirror: Literal["auto", "never"] = _mirror()
    noise: float = _noise()
    smooth: float = _smooth(1.0)


class ThinPlateOptions(Options):
    """Options of `thin-plate`."""

    stiffness: float = Field(
        1.0,
        ge=0,
        le=1e6,
        description="weight of the bending against how far points are missed: 0 meets each of them, 10 hardly bends",
    )
    mirror: Literal["auto", "never"] = _mirror()
    noise: float = _noise()
    smooth: float = _smooth(1.0)


class FlowOptions(Options):
    """Options of `flow`."""

    short_side: int = Field(
        240, ge=32, le=2160, description="pixels to which the shorter side is scaled: more is finer, slower and larger"
    )
    radius: float = Field(
        1.2,
        gt=0,
        le=2,
        description="size of the Gaussian window around a point, in spreads of the points (root mean square distance "
        "from their middle): less follows the part that the point is on, more the whole subject",
    )
    carry: Literal["frame", "place"] = Field(
        "frame",
        description="frame: the move turns, grows and leans as the flow around the point does; place: where the moved "
        "place is on the subject, it goes where the flow around itself takes it",
    )
    max_error: float = Field(
        1.0, gt=0, description="scaled pixels by which the flow back may miss the start, where it is believed"
    )
    smooth: float = _smooth(1.0)


class DeformationFieldOptions(Options):
    """Options of `deformation-field`."""

    steps: int = Field(
        300, ge=0, le=20000, description="most optimiser steps; training ends before where held-out error stops falling"
    )
    rigidity: float = Field(
        1.0, ge=0, description="weight of keeping the deformation rigid: more for solid things, less for supple ones"
    )
    steadiness: float = Field(1.0, ge=0, description="weight of keeping the deformation steady from frame to frame")
    layers: int = Field(8, ge=1, le=16, description="coupling layers: more allow more intricate deformations")
    knots: int = Field(9, ge=5, le=64, description="knots of each layer's splines: more allow finer deformations")
    reach: float = Field(
        0.8,
        gt=0,
        le=10,
        description="how much of the subject around a point its drag goes with, in half sizes of the subject: less "
        "follows a supple subject's bends, more isn't led by a limb that swings",
    )


class LayeredAtlasOptions(Options):
    """Options of `layered-atlas`."""

    preset: Literal["fast", "reference"] = Field(
        "fast",
        description="fast: minutes on a processor; reference: the networks and the formula of VideoSwap's own code, "
        "which need masks and hours, and take weights and iterations only",
    )
    weights: InputPath | None = Field(
        None, description="preset reference: a checkpoint of the reference for this very video, in place of training"
    )
    iterations: int | None = Field(
        None,
        ge=0,
        le=200_000,
        description="most optimiser steps (default: 1500; reference: 50000); fast ends before, where held-out pixels "
        "gain no more",
    )
    registrations: int = Field(
        2, ge=0, le=20, description="rounds in which frames are brought in line with the atlas before that"
    )
    flow: Literal["dis", "raft"] = Field(
        "dis", description="dense flow: by OpenCV, or by torchvision's RAFT if installed"
    )
    flow_weights: InputPath | None = Field(None, description="for raft: torchvision's published weights of raft_large")
    short_side: int = Field(
        240, ge=32, le=2160, description="pixels that the shorter side is scaled down to: more is finer and slower"
    )
    subject_texels: float = Field(2.0, gt=0, le=8, description="pixels of the subject's picture to one of a frame")
    background_texels: float = Field(1.5, gt=0, le=8, description="the same of the background's")
    reach: float = Field(
        0.3,
        gt=0,
        le=2,
        description="how much of the subject around a point its drag goes with, in its size",
    )
    smooth: float = _smooth(1.0)


@hookimpl
def vswap_canonicals() -> Iterable[ComponentSpec]:
    """From a copied drag to a learned canonical space."""
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
    yield ComponentSpec(
        "homography",
        "vswap_canonical.homography:Homography",
        HomographyOptions,
        "the drag on the keyframe, carried by the plane that the tracked points lie on, in perspective",
    )
    yield ComponentSpec(
        "thin-plate",
        "vswap_canonical.thin_plate:ThinPlate",
        ThinPlateOptions,
        "the drag on the keyframe, carried by a thin plate that bends with the tracked points",
    )
    yield ComponentSpec(
        "flow",
        "vswap_canonical.flow:Flow",
        FlowOptions,
        "the drag on the keyframe, carried from frame to frame by the dense optical flow around its point",
        requires=("cv2",),
        install="pip install 'vswap[opencv]'",
    )
    yield ComponentSpec(
        "deformation-field",
        "vswap_canonical.deformation_field:DeformationField",
        DeformationFieldOptions,
        "the drag on the keyframe, carried by an invertible deformation of all frames to one, learned from dense flow",
        requires=("torch", "cv2"),
        install="pip install 'vswap[diffusion,opencv]'",
        seeded=True,
    )
    yield ComponentSpec(
        "layered-atlas",
        "vswap_canonical.layered_atlas:LayeredAtlas",
        LayeredAtlasOptions,
        "the drag on the keyframe, carried through one picture of the subject, which can be edited too (vswap atlas)",
        requires=("torch", "cv2"),
        install="pip install 'vswap[diffusion,opencv]'",
        seeded=True,
        revision=2,
    )


@hookimpl
def vswap_cli(app: typer.Typer) -> None:
    """Adds `vswap atlas export` and `render`."""
    from vswap_canonical.commands import add_commands

    add_commands(app)
