"""The hooks that a plugin may implement. A hook never runs a job: it yields specs, and the kernel does the rest.

Each docstring shows an implementation that works as it stands. Mark it with `vswap_kernel.api.hookimpl`, in the module
that the entry point of group `vswap` names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

from vswap_kernel.api import PROJECT, CaseSpec, ComponentSpec, FinishedRun, StageEvent

if TYPE_CHECKING:
    import typer

    from vswap_kernel.plan import Stage
    from vswap_kernel.video import Source

hookspec = pluggy.HookspecMarker(PROJECT)


@hookspec
def vswap_trackers() -> Iterable[ComponentSpec]:  # type: ignore[empty-body]
    """Components that carry named points through a video (`protocols.Tracker`).

    >>> @hookimpl
    ... def vswap_trackers():
    ...     yield ComponentSpec("still", "my_package:StillTracker", summary="points that never move")
    """


@hookspec
def vswap_embedders() -> Iterable[ComponentSpec]:  # type: ignore[empty-body]
    """Components that say what each point looks like (`protocols.Embedder`).

    >>> @hookimpl
    ... def vswap_embedders():
    ...     yield ComponentSpec("colour", "my_package:ColourEmbedder", summary="the colour around a point")
    """


@hookspec
def vswap_canonicals() -> Iterable[ComponentSpec]:  # type: ignore[empty-body]
    """Components that carry the drag of a point to every frame (`protocols.Canonical`).

    >>> @hookimpl
    ... def vswap_canonicals():
    ...     yield ComponentSpec("affine", "my_package:AffineCanonical", summary="one affine map a frame")
    """


@hookspec
def vswap_concepts() -> Iterable[ComponentSpec]:  # type: ignore[empty-body]
    """Components that say what the new subject is (`protocols.Concept`, `protocols.CutoutConcept`).

    >>> @hookimpl
    ... def vswap_concepts():
    ...     yield ComponentSpec("sprite", "my_package:Sprite", summary="a PNG", capabilities=("cutout",))
    """


@hookspec
def vswap_motions() -> Iterable[ComponentSpec]:  # type: ignore[empty-body]
    """Motion modules: what makes a backbone's frames agree in time (`protocols.MotionModule`).

    >>> @hookimpl
    ... def vswap_motions():
    ...     yield ComponentSpec("still", "my_package:NoMotion", accepts={"backbone": ("sd15-unet",)})
    """


@hookspec
def vswap_backbones() -> Iterable[ComponentSpec]:  # type: ignore[empty-body]
    """Diffusion models (`protocols.Backbone`).

    >>> @hookimpl
    ... def vswap_backbones():
    ...     yield ComponentSpec("sd15", "my_package:StableDiffusion", capabilities=("sd15-unet",))
    """


@hookspec
def vswap_swappers() -> Iterable[ComponentSpec]:  # type: ignore[empty-body]
    """Editing methods (`protocols.Swapper`).

    >>> @hookimpl
    ... def vswap_swappers():
    ...     yield ComponentSpec("paste", "my_package:Paste", accepts={"concept": ("cutout",)})
    """


@hookspec
def vswap_masks() -> Iterable[ComponentSpec]:  # type: ignore[empty-body]
    """Components that find the subject's mask in every frame (`protocols.Masker`).

    >>> @hookimpl
    ... def vswap_masks():
    ...     yield ComponentSpec("chroma", "my_package:ChromaKey", summary="everything that isn't green")
    """


@hookspec
def vswap_metrics() -> Iterable[ComponentSpec]:  # type: ignore[empty-body]
    """Components that judge a result (`protocols.Metric`).

    >>> @hookimpl
    ... def vswap_metrics():
    ...     yield ComponentSpec("sharpness", "my_package:Sharpness", summary="variance of the Laplacian")
    """


@hookspec(firstresult=True)
def vswap_open_video(path: Path) -> Source | None:
    """Open a kind of video that the kernel can't read; None for what isn't yours.

    >>> @hookimpl
    ... def vswap_open_video(path):
    ...     return RawSource(path) if path.suffix == ".raw" else None
    """


@hookspec(firstresult=True)
def vswap_run_stage(stage: Stage, call: Callable[[], bool]) -> bool:  # type: ignore[empty-body]
    """Wrap the work of a stage (profile it, time it, send it elsewhere). Only wrappers make sense here.

    >>> @hookimpl(wrapper=True)
    ... def vswap_run_stage(stage, call):
    ...     with my_profiler(stage.name):
    ...         return (yield)
    """


@hookspec
def vswap_stage_event(event: StageEvent) -> None:
    """Watch a run. One that raises is named in a warning and never stops the run.

    >>> @hookimpl
    ... def vswap_stage_event(event):
    ...     print(event.kind, event.stage)
    """


@hookspec
def vswap_write_report(run: FinishedRun) -> Path | None:
    """Write a page about a finished run into its folder and return its path.

    >>> @hookimpl
    ... def vswap_write_report(run):
    ...     page = run.folder / "summary.txt"
    ...     page.write_text(run.title)
    ...     return page
    """


@hookspec
def vswap_cases() -> Iterable[CaseSpec]:  # type: ignore[empty-body]
    """Videos with exact answers, on which the conformance kit tries components.

    >>> @hookimpl
    ... def vswap_cases():
    ...     yield CaseSpec("marbles", "my_package.cases:marbles")
    """


@hookspec
def vswap_cli(app: typer.Typer, groups: Mapping[str, typer.Typer]) -> None:
    """Add sub-commands to `vswap`, or to one of its groups ("plugins", "points", "store", "eval").

    >>> @hookimpl
    ... def vswap_cli(app):
    ...     @app.command("hello")
    ...     def hello() -> None:
    ...         print("hello")
    """


FAMILIES: dict[str, str] = {
    "tracker": "vswap_trackers",
    "embedder": "vswap_embedders",
    "canonical": "vswap_canonicals",
    "concept": "vswap_concepts",
    "motion": "vswap_motions",
    "backbone": "vswap_backbones",
    "swapper": "vswap_swappers",
    "masks": "vswap_masks",
    "metrics": "vswap_metrics",
}
"""The key of each family in a config, and the hook that collects its specs."""
