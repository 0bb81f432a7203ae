"""What a check is tried on: a registered component with its options, and with what it is lent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vswap_kernel.api import Context
from vswap_kernel.config import Chosen, component_options
from vswap_kernel.models import Models, lent_families
from vswap_kernel.registry import Component, Registry
from vswap_kernel.testing.asking import NEEDS
from vswap_kernel.testing.case import Case
from vswap_kernel.testing.checks import Listed

Options = Mapping[str, Any] | Callable[[Case, Path], Mapping[str, Any]]
"""Option values; or a function of the case and a folder, for components that read files. Some checks ask for other
frames and points than the case's own: then the case given is one of those, its tracks too."""
ONLY = "only:"
"""Begins a tracker's capability that says of what kind all points are that it finds, as in "only:coco-joints"."""


@dataclass(frozen=True)
class Tried:
    """What is tried: a registered component, its options, and what it is lent.

    lends: by family, a name and options as a run's config has them: {"embedder": {"name": "dinov2", "patches": 16}}, or
    a made component; or a function as of `Options`. Registered components are themselves lent what they accept.
    """

    component: Component
    registry: Registry
    options: Options
    lends: Options

    def make(self, case: Case, scratch: Path) -> Any:
        """The component for what is asked. What it is lent is made anew as well, so that its memory is counted each
        time."""
        folders = [scratch / name for name in ("options", "lent", "component")]
        for folder in folders:
            folder.mkdir()
        options, lent, own = folders
        values = self.component.spec.options.model_validate(_values(self.options, case, options))
        lends = _values(self.lends, case, options)
        made = {family: value for family, value in lends.items() if not isinstance(value, Mapping)}
        models = Models(self._chosen(lends), Context(lent))
        components = made | {family: models[family] for family in lent_families(self.component) if family not in made}
        return self.component.create(values, Context(own, components=components))

    def _chosen(self, lends: Mapping[str, Any]) -> dict[str, Chosen]:
        """By family, the registered components among what is lent."""
        chosen = {}
        for family, value in lends.items():
            if isinstance(value, Mapping):
                component = self.registry.get(family, value["name"])
                options = {key: item for key, item in value.items() if key != "name"}
                chosen[family] = Chosen(component, component_options(component, options, Path.cwd()))
        return chosen

    def why_not(self, check: Listed, case: Case, folder: Path) -> str:
        """Why the check doesn't apply to this case; "" where it does. `folder` is an empty one."""
        spec, need = self.component.spec, NEEDS.get(self.component.family, "name")
        kinds = [word.removeprefix(ONLY) for word in spec.capabilities if word.startswith(ONLY)]
        reasons: dict[str, Any] = {
            f"only for the capability {check.capability!r}": check.capability not in ("", *spec.capabilities),
            f"it finds points of the kind {', '.join(kinds)} alone": kinds
            and (check.any_points or case.points not in kinds),
            "the kit has no backbone": self.component.family == "swapper" and "backbone" in spec.accepts,
            f"the case has no {need}": getattr(case, need) is None,
        }
        applies = not any(reasons.values()) and not self.component.missing
        lends = _values(self.lends, case, folder) if applies else {}
        for each in (self.component, *(chosen.component for chosen in self._chosen(lends).values())):
            reasons[f"not installed: {', '.join(each.missing)}; run: {each.spec.install}"] = each.missing
            for family in lent_families(each):
                reasons[f"{each.spec.name!r} takes a component of the family {family}: lend it one"] = (
                    family not in lends
                )
        return next((reason for reason, holds in reasons.items() if holds), "")


def _values(options: Options, case: Case, folder: Path) -> Mapping[str, Any]:
    return options(case, folder) if callable(options) else options
