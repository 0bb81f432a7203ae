"""The conformance kit: a right component passes, and each wrong one fails the check that names its fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import known_answers
import small_plugin
from vswap_kernel.api import ComponentSpec, Options
from vswap_kernel.errors import ConfigError, InputError
from vswap_kernel.registry import Registry
from vswap_kernel.testing import CheckOutcome, checks, run_checks, running
from vswap_kernel.testing.asking import Maker
from vswap_kernel.testing.cases import patch
from vswap_kernel.testing.tried import Tried
from vswap_kernel.types import PointTracks


@pytest.fixture
def registry() -> Registry:
    """The components that know the answers, and no cases but the kit's own."""
    registry = Registry()
    assert registry.add(known_answers.plugin, "known", "vswap-known", "1.0").status == "ok"
    return registry


def _failed(outcomes: list[CheckOutcome]) -> dict[str, str]:
    return {outcome.check: outcome.message for outcome in outcomes if outcome.status == "failed"}


@pytest.mark.parametrize("family", ["tracker", "masks", "canonical", "concept", "swapper", "metrics"])
def test_a_right_component_passes_every_check(family: str, registry: Registry) -> None:
    outcomes = run_checks(family, "known", registry=registry)
    assert {outcome.status for outcome in outcomes} == {"passed"}, outcomes
    assert len(outcomes) >= 2


@pytest.mark.parametrize(
    ("family", "fault", "check", "says"),
    [
        ("tracker", "short", "tracker_shape", "8, (96, 64)"),
        ("tracker", "size", "tracker_shape", "(64, 96)"),
        ("tracker", "names", "tracker_shape", "'d', 'c'"),
        ("tracker", "confidence", "tracker_shape", "confidence in 0..1"),
        ("tracker", "keyframe", "tracker_shape", "on their keyframes exactly"),
        ("tracker", "nan", "tracker_shape", "not finite"),
        ("tracker", "type", "tracker_shape", "expected PointTracks"),
        ("tracker", "mutates", "repeats", "changed: video"),
        ("tracker", "random", "repeats", "the same bytes"),
        ("tracker", "transposed", "tracker_accuracy", "a mean error of at most 4.0 px"),
        ("tracker", "hoards", "tracker_flat_memory", "at most 15 MB more for 1000 frames than for 200"),
        ("tracker", "keeps the pages", "tracker_flat_memory", "at most 15 MB more for 1000 frames than for 200"),
        ("tracker", "blind", "tracker_accuracy", "called visible"),
        ("masks", "short", "masks_shape", "(7, 64, 96)"),
        ("masks", "elsewhere", "masks_overlap", "intersection over union"),
        ("canonical", "lenient", "canonical_unknown_point", "no-such-point"),
        ("canonical", "all move", "canonical_move", "moved by"),
        ("canonical", "half", "canonical_move", "2.000 px off"),
        ("canonical", "restless", "canonical_move", "moved to where they are"),
        ("canonical", "tied to its folder", "prepared_folder", "moved elsewhere"),
        ("canonical", "writes", "prepared_folder", "only read"),
        ("concept", "opaque", "concept_cutout", "alpha 255..255"),
        ("concept", "random", "concept_cutout", "the same from a second"),
        ("concept", "outside", "concept_cutout", "all in the picture"),
        ("swapper", "nothing", "swapper_result", "nearer to the answer"),
        ("swapper", "background", "swapper_result", "dB outside both masks"),
        ("swapper", "rate", "swapper_result", "at 25.0"),
        ("swapper", "needs points", "swapper_with_less", "IndexError"),
        ("metrics", "infinite", "metrics_numbers", "inf"),
        ("metrics", "numpy", "metrics_numbers", "finite floats"),
        ("metrics", "short", "metrics_numbers", "series of 8 frames"),
    ],
)
def test_a_wrong_component_fails_the_check_of_its_fault(
    family: str, fault: str, check: str, says: str, registry: Registry
) -> None:
    failed = _failed(run_checks(family, "known", {"fault": fault}, registry))
    assert says in failed.get(f"check_{check}", ""), failed


def test_a_point_called_visible_out_of_the_frame_fails(tmp_path: Path) -> None:
    case = patch()
    xy = case.tracks.xy + np.array([12, 0], np.float32) * np.arange(8, dtype=np.float32)[:, None, None]
    inside = (xy[..., 0] <= 95.5) & (xy[..., 1] <= 63.5)
    gone = replace(case, tracks=PointTracks(case.tracks.names, xy, inside, case.tracks.confidence, case.tracks.size))
    assert not inside.all()
    maker = Maker("tracker", lambda _: known_answers.Tracker(known_answers.Given(fault="all visible"), None))
    with pytest.raises(AssertionError, match="no point called visible where its true position is out of the frame"):
        checks.check_tracker_hidden(maker, gone, tmp_path)


def test_a_spec_is_told_all_that_it_lacks() -> None:
    class Undescribed(Options):
        radius: int = 3

    bare = ComponentSpec("bare", "module", Undescribed, requires=("cv2",), accepts={"colour": ("red",)})
    with pytest.raises(AssertionError) as told:
        running.check_spec(bare)
    for rule in ("summary", "factory", "requires, install", "accepts: expected keys", "option radius"):
        assert rule in str(told.value)


def test_a_missing_package_skips_with_the_reason(registry: Registry) -> None:
    outcomes = run_checks("tracker", "away", registry=registry)[1:]
    assert {outcome.status for outcome in outcomes} == {"skipped"}
    assert "no_such_package" in outcomes[0].message


def test_expected_failures_are_strict(registry: Registry) -> None:
    expected = {"check_tracker_accuracy[patch]": "sees nothing", "check_tracker_hidden[patch]": "wrongly expected"}
    outcomes = run_checks("tracker", "known", {"fault": "blind"}, registry, expected_failures=expected)
    by_check = {outcome.check: outcome for outcome in outcomes}
    assert by_check["check_tracker_accuracy"].status == "expected failure"
    assert by_check["check_tracker_hidden"].status == "failed"
    assert "take it out" in by_check["check_tracker_hidden"].message


def test_options_may_be_made_for_the_case(registry: Registry) -> None:
    outcomes = run_checks("masks", "known", lambda case, folder: {"fault": "short" * folder.is_dir()}, registry)
    assert "check_masks_shape" in _failed(outcomes)


def test_what_is_lent_is_given_to_the_component_and_lent_what_it_accepts(tmp_path: Path) -> None:
    small_plugin.calls.clear()
    registry = Registry()
    assert registry.add(lambda: small_plugin, "small", "vswap-small", "1.0").status == "ok"
    lends = {"embedder": {"name": "borrowing"}, "backbone": {"name": "little"}}
    tried = Tried(registry.get("tracker", "borrowing"), registry, {}, lends)
    tracks = tried.make(patch(), tmp_path).track(patch().video, patch().queries)
    assert len(tracks) == 8
    assert small_plugin.calls["backbone"] == 1


@pytest.mark.parametrize(
    ("lends", "says"),
    [
        ({}, "'borrowing' takes a component of the family embedder: lend it one"),
        ({"embedder": {"name": "borrowing"}}, "'borrowing' takes a component of the family backbone: lend it one"),
    ],
)
def test_a_component_that_is_lent_too_little_is_skipped_with_the_reason(lends: dict[str, Any], says: str) -> None:
    registry = Registry()
    registry.add(lambda: small_plugin, "small", "vswap-small", "1.0")
    outcomes = run_checks("tracker", "borrowing", registry=registry, lends=lends)[1:]
    assert {(outcome.status, outcome.message) for outcome in outcomes} == {("skipped", says)}


def test_a_tracker_of_one_kind_of_points_is_tried_on_those_alone(registry: Registry, tmp_path: Path) -> None:
    component = registry.get("tracker", "known")
    only = replace(component, spec=replace(component.spec, capabilities=("only:corners",)))
    tried, case = Tried(only, registry, {}, {}), patch()
    by_name = {each.run.__name__: each for each in checks.CHECKS["tracker"]}
    shape, thousand = by_name["check_tracker_shape"], by_name["check_tracker_thousand_points"]
    assert tried.why_not(shape, case, tmp_path) == "it finds points of the kind corners alone"
    corners = replace(case, points="corners")
    assert tried.why_not(shape, corners, tmp_path) == ""
    assert tried.why_not(thousand, corners, tmp_path) == "it finds points of the kind corners alone"


def test_an_unknown_component_names_the_near_ones(registry: Registry) -> None:
    with pytest.raises(ConfigError, match="did you mean 'known'"):
        run_checks("tracker", "knwon", registry=registry)


def test_the_options_that_a_component_needs_are_asked_for() -> None:
    with pytest.raises(InputError, match="without its options path"):
        run_checks("masks", "files", {})


def test_the_kit_s_own_case_is_true_to_itself() -> None:
    case = patch()
    assert case.answer is not None
    assert case.cutout is not None
    still = case.masks.frames | case.answer.subject.frames
    assert (case.video.frames[still == 0] == case.answer.video.frames[still == 0]).all()
    x, y = case.tracks.xy[3].astype(int).T
    x0, y0 = case.tracks.xy[0].astype(int).T
    assert (case.video.frames[3, y, x] == case.video.frames[0, y0, x0]).all()
    u, v = case.cutout.xy.astype(int).T
    assert (case.cutout.rgba[v, u, :3] == case.answer.video.frames[0, y0, x0]).all()
