"""The components that others work with as they are (a diffusion model, what is attached to it): made when one is first
asked for, once in a run, and shared between its stages. Of all other families, stages pass on results."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from vswap_kernel.api import Context
from vswap_kernel.config import Chosen
from vswap_kernel.registry import Component

MODELS = ("backbone", "motion", "concept")
LENT = (*MODELS, "embedder")
"""What others may be given: an embedder, too, whose features a tracker follows; it is itself given the models."""


class Models(Mapping[str, Any]):
    """The made components of a run's families `LENT`, by family."""

    def __init__(self, families: Mapping[str, Chosen], context: Context) -> None:
        """`context` gives device, dtype and the run's seed; its scratch folder must last as long as the run."""
        self._families = {name: families[name] for name in LENT if name in families}
        self._context, self._made = context, dict[str, Any]()

    def __getitem__(self, family: str) -> Any:
        if family not in self._made:
            chosen = self._families[family]
            scratch = self._context.scratch / family
            scratch.mkdir(exist_ok=True)
            seed = self._context.seed if chosen.component.spec.seeded else 0
            context = dataclasses.replace(self._context, scratch=scratch, seed=seed, components=self)
            self._made[family] = chosen.component.create(chosen.options, lend(chosen.component, context))
        return self._made[family]

    def __iter__(self) -> Iterator[str]:
        return iter(self._families)

    def __len__(self) -> int:
        return len(self._families)


def lent_families(component: Component) -> tuple[str, ...]:
    """The families whose made components are in the `Context` of `component`, and so in the keys of its results: the
    ones of `LENT` that its `accepts` names. None for a swapper, whose job holds them, nor for models, attached to each
    other.
    """
    accepts = component.spec.accepts
    return () if component.family in (*MODELS, "swapper") else tuple(family for family in LENT if family in accepts)


def lend(component: Component, context: Context) -> Context:
    """`context`, whose components are all models of the run, with those that `component` may use."""
    components = {family: context.components[family] for family in lent_families(component)}
    return dataclasses.replace(context, components=components)
