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


class Models(Mapping[str, Any]):
    """The made components of a run's families `MODELS`, by family."""

    def __init__(self, families: Mapping[str, Chosen], context: Context) -> None:
        """`context` gives device, dtype and the run's seed; its scratch folder must last as long as the run."""
        self._families = {name: families[name] for name in MODELS if name in families}
        self._context, self._made = context, dict[str, Any]()

    def __getitem__(self, family: str) -> Any:
        if family not in self._made:
            chosen = self._families[family]
            scratch = self._context.scratch / family
            scratch.mkdir(exist_ok=True)
            seed = self._context.seed if chosen.component.spec.seeded else 0
            context = dataclasses.replace(self._context, scratch=scratch, seed=seed)
            self._made[family] = chosen.component.create(chosen.options, context)
        return self._made[family]

    def __iter__(self) -> Iterator[str]:
        return iter(self._families)

    def __len__(self) -> int:
        return len(self._families)


def lent_families(component: Component) -> tuple[str, ...]:
    """The families whose made components are in the `Context` of `component`, and so in the keys of its results: the
    models that its `accepts` names. None for a swapper, whose job holds them, nor for models, attached to each other.
    """
    if component.family in (*MODELS, "swapper"):
        return ()
    return tuple(family for family in MODELS if family in component.spec.accepts)


def lend(component: Component, context: Context) -> Context:
    """`context`, whose components are all models of the run, with those that `component` may use."""
    components = {family: context.components[family] for family in lent_families(component)}
    return dataclasses.replace(context, components=components)
