"""How a component of each family is asked for its answer on a case."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any

from vswap_kernel import protocols, types
from vswap_kernel.protocols import MetricCase, SwapJob
from vswap_kernel.testing.case import Case
from vswap_kernel.types import DisplacementField, PointTracks, SwapResult


def _swap(swapper: Any, case: Case, prepared: Path) -> Any:
    dropped = case.edit.drop if case.edit else ()
    targets = case.tracks.subset(name for name in case.tracks.names if name not in dropped)
    concept: Any = SimpleNamespace(cutout=lambda: case.cutout)
    return swapper.swap(SwapJob(case.video, case.tracks, targets, case.masks, concept=concept), prepared)


def _measure(metric: Any, case: Case, _: Path) -> Any:
    result = case.answer or SwapResult(case.video, case.masks)
    tracker: Any = SimpleNamespace(track=lambda video, queries: case.tracks.subset(queries.names))
    return metric.measure(MetricCase(case.video, result, case.masks, case.tracks, tracker))


_FAMILIES: dict[str, tuple[Any, type, Callable[[Any, Case, Path], Any]]] = {
    "tracker": (protocols.Tracker, PointTracks, lambda it, case, _: it.track(case.video, case.queries)),
    "masks": (protocols.Masker, types.Masks, lambda it, case, _: it.segment(case.video, case.queries)),
    "canonical": (
        protocols.Canonical,
        DisplacementField,
        lambda it, case, fit: it.propagate(fit, case.tracks, case.edit),
    ),
    "concept": (protocols.CutoutConcept, types.Cutout, lambda it, case, _: it.cutout()),
    "swapper": (protocols.Swapper, SwapResult, _swap),
    "metrics": (protocols.Metric, types.Measurement, _measure),
}
NEEDS = {"canonical": "edit", "swapper": "cutout"}
"""The optional field of a `Case` without which the family can't be asked."""


@dataclass(frozen=True)
class Maker:
    """Makes the component under test afresh: `make` takes an empty folder, the scratch of its `Context`; `by_case`, it
    takes the case that is asked (in its number of frames, with its points) before it."""

    family: str
    make: Callable[..., Any]
    by_case: bool = False

    def prepare(self, case: Case, scratch: Path) -> Path:
        """A new folder in `scratch` with the work that the kernel keeps for a canonical or a swapper."""
        component: Any = self._made(case, scratch)
        protocol, folder = _FAMILIES[self.family][0], _new(scratch)
        assert isinstance(component, protocol), f"expected the methods of {protocol.__name__}, got {component!r}"
        if self.family == "canonical":
            component.fit(case.video, case.masks, case.tracks, folder)
        if self.family == "swapper":
            component.prepare(SwapJob(case.video, case.tracks, case.tracks, case.masks), folder)
        return folder

    def answer(self, case: Case, scratch: Path, prepared: Path | None = None) -> Any:
        """What a new component says, of its family's type. A swapper's targets are the tracks less the dropped ones."""
        prepared = prepared or self.prepare(case, scratch)
        _, wanted, ask = _FAMILIES[self.family]
        got = ask(self._made(case, scratch), case, prepared)
        assert isinstance(got, wanted), f"expected {wanted.__name__} as the answer, got {type(got).__name__}"
        return got

    def _made(self, case: Case, scratch: Path) -> Any:
        return self.make(case, _new(scratch)) if self.by_case else self.make(_new(scratch))


def _new(scratch: Path) -> Path:
    return Path(mkdtemp(dir=scratch))
