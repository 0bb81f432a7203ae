from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
from typer.testing import CliRunner

from vswap_toybox.cases import CASES
from vswap_toybox.register import vswap_cases


@pytest.fixture(scope="module")
def cases():
    return {name: make() for name, make in CASES.items()}


def test_every_registered_case_is_made_by_its_factory(cases):
    specs = list(vswap_cases())
    assert [spec.name for spec in specs] == list(CASES)
    for spec in specs:
        module, function = spec.factory.split(":")
        assert getattr(import_module(module), function) is CASES[spec.name]
        assert cases[spec.name].name == spec.name


def test_cases_hold_together(cases):
    for case in cases.values():
        keyframe = int(case.queries.frame[0])
        assert len(case.queries.names) == 6
        assert case.tracks.visible[keyframe].all()
        assert np.array_equal(case.queries.xy, case.tracks.xy[keyframe])
        assert len(case.video) == len(case.masks) == len(case.tracks) == len(case.displacement.delta)
        outside = (case.masks.frames == 0) & (case.answer.subject.frames == 0)
        assert np.array_equal(case.video.frames[outside], case.answer.video.frames[outside])
        for name, place in case.edit.move.items():
            index = case.tracks.names.index(name)
            moved = case.tracks.xy[keyframe, index] + case.displacement.delta[keyframe, index]
            assert moved == pytest.approx(place, abs=1e-3)


def test_cases_show_what_their_names_say(cases):
    visible = {name: case.tracks.visible for name, case in cases.items()}
    assert not visible["occlusion"].all()
    assert visible["occlusion"][[0, -1]].all()
    assert not visible["out-of-frame"].any(1).all()
    assert visible["out-of-frame"][-1].all()
    assert cases["mid-video-query"].queries.frame[0] == 12
    shift = cases["translation"].tracks.xy[-1] - cases["translation"].tracks.xy[0]
    assert np.allclose(shift, (57.6, 0), atol=1e-3)
    spread = [np.ptp(cases["scale"].tracks.xy[i, :, 0]) for i in (0, -1)]
    assert spread[1] / spread[0] == pytest.approx(1.6, abs=0.01)


def test_backgrounds_have_corners_to_track(cases):
    for name, case in cases.items():
        grey = case.video.frames[0].mean(-1)
        slope_y, slope_x = np.gradient(grey)
        steep = (np.hypot(slope_x, slope_y) > 8) & (case.masks.frames[0] == 0)
        assert steep.sum() > 400, name


def test_registering_loads_neither_the_renderer_nor_typer():
    code = (
        "import sys, vswap_toybox.register\n"
        "print([name for name in ('numpy', 'typer', 'av', 'vswap_toybox.rendering') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def app():
    import typer

    from vswap_toybox.commands import add_commands

    app = typer.Typer()
    add_commands(app, typer.Typer())
    return app


def test_the_command_writes_a_folder_a_clip_and_a_sheet(tmp_path, app):
    arguments = ["toybox", "render", str(tmp_path), "--count", "2", "--seed", "3", "--frames", "3", "--size", "48x32"]
    done = CliRunner().invoke(app, [*arguments, "--class", "car", "--target-class", "boat", "--occluder"])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00003", "00004", "contact.png"]
    assert (tmp_path / "00004" / "swap.yaml").exists()
    assert "car" in done.output
    assert "boat" in done.output


def test_the_command_refuses_a_size_it_cannot_read(tmp_path, app):
    done = CliRunner().invoke(app, ["toybox", "render", str(tmp_path / "new"), "--size", "48"])
    assert "expected WIDTHxHEIGHT" in str(done.exception)
    assert not (tmp_path / "new").exists()
