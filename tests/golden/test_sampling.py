"""DDIM inversion, and every recorded edit that doesn't blend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from vswap_swappers.point_diffusion.ddim import sampled

from .conftest import FOLDER, group_notes
from .edits import EDIT, Edit, Group, relative

EDITS = "unblended"
INVERSION = 1e-4
GROUP = "noblend"
"""The group whose inversion is recorded step by step."""


@pytest.fixture(scope="module")
def group(group_of: Callable[[str], Group]) -> Group:
    return group_of(GROUP)


def test_the_ladder_has_the_recorded_timesteps(group: Group) -> None:
    assert list(group.ladder.timesteps[:-1]) == group.notes["inverse_timesteps"]
    for edit in group.notes["edits"].values():
        assert list(group.ladder.timesteps[:0:-1]) == edit["timesteps"]


def test_the_inversion_follows_the_recorded_trajectory(group: Group, recording: Any) -> None:
    recorded = recording(f"edit_{GROUP}_inversion")[0]["latents_after_step"]
    assert len(group.levels) == len(recorded) + 1
    for step, latents in enumerate(group.levels[1:]):
        assert (latents - recorded[step].transpose(0, 1)).abs().max() < INVERSION, step


INVERTED = [name for name in group_notes() if (FOLDER / f"edit_{name}_inversion.safetensors").is_file()]
"""A group may share another's inversion, and then has none of its own recorded."""


@pytest.mark.parametrize("name", INVERTED)
def test_every_recorded_inversion_agrees(name: str, group_of: Callable[[str], Group], recording: Any) -> None:
    tensors, _ = recording(f"edit_{name}_inversion")
    group = group_of(name)
    kept = group.notes.get("inversion_steps_kept", range(group.ladder.steps))
    for step, recorded in zip(kept, tensors["latents_after_step"], strict=True):
        assert (group.levels[step + 1] - recorded.reshape(recorded.shape[-4:]).transpose(0, 1)).abs().max() < INVERSION


def test_every_edit_without_blending_follows_the_recorded_latents(edit: Edit) -> None:
    group, predict, kept = edit.group, edit.guidance(), edit.notes["latent_steps_kept"]
    with group.motion.attach(group.backbone), edit.attached():
        steps = list(sampled(predict, group.levels[-1], group.ladder))
    assert relative(steps[0][1], edit.tensors["guided_noise_pred_step0"]) < EDIT
    for step, recorded in zip(kept, edit.tensors["latents_after_step"], strict=True):
        assert relative(steps[step][0], recorded) < EDIT, step
