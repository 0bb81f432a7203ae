from __future__ import annotations

import json

import numpy as np
import pytest

from vswap_kernel.errors import InputError
from vswap_kernel.pictures import read_image
from vswap_kernel.points import read_points
from vswap_toybox.anatomy import POINT_NAMES
from vswap_toybox.clip import clip, drag
from vswap_toybox.cutout import render_cutout
from vswap_toybox.subject import CLASSES, Subject
from vswap_toybox.writing import write_clip

SMALL = {"frames": 8, "size": (96, 64)}


def test_a_clip_is_the_same_bytes_for_the_same_arguments():
    one, two = (clip(7, occluder=True, target_class="boat", **SMALL) for _ in range(2))
    assert one.video.digest() == two.video.digest()
    assert one.answer.digest() == two.answer.digest()
    assert one.tracks.digest() == two.tracks.digest()
    assert one.cutout.rgba.tobytes() == two.cutout.rgba.tobytes()


def test_a_clip_streamed_to_a_folder_is_the_one_in_memory(tmp_path):
    kept, streamed = clip(8, **SMALL), clip(8, folder=tmp_path / "clip", **SMALL)
    assert isinstance(streamed.video.frames.base, np.ndarray | memoryview)
    assert not streamed.video.frames.flags.writeable
    assert streamed.video.digest() == kept.video.digest()
    assert streamed.masks.digest() == kept.masks.digest()
    assert streamed.answer.digest() == kept.answer.digest()


def test_queries_lie_on_the_tracks_and_are_visible_on_the_keyframe():
    for seed in range(6):
        made = clip(seed, occluder=True, **SMALL)
        assert made.queries.names == made.tracks.names == made.answer_tracks.names
        assert (made.queries.frame == made.keyframe).all()
        assert np.array_equal(made.queries.xy, made.tracks.xy[made.keyframe])
        assert made.tracks.visible[made.keyframe].all()


def test_points_hidden_on_a_given_keyframe_are_left_out():
    made = clip(1, occluder=True, subject_class="car", **SMALL)
    seen = made.tracks.visible
    frame = int(np.flatnonzero(~seen.all(1))[0])
    names = tuple(name for name, visible in zip(made.tracks.names, seen[frame], strict=True) if visible)
    fewer = clip(1, occluder=True, subject_class="car", keyframe=frame, **SMALL)
    assert fewer.tracks.names == names
    assert len(names) < len(made.tracks.names)


def test_an_occluder_hides_a_point_in_some_frame_and_none_does_without():
    hidden = [~clip(seed, occluder=True, subject_class="fish", **SMALL).tracks.visible for seed in range(4)]
    assert all(each.any() for each in hidden)


def test_a_target_of_the_same_class_has_the_same_shape_and_other_paint():
    made = clip(2, **SMALL)
    assert made.target.name == made.subject.name
    assert made.target.colour != made.subject.colour
    assert np.array_equal(made.answer_tracks.xy, made.tracks.xy)
    assert np.array_equal(made.answer.subject.frames, made.masks.frames)
    assert not np.array_equal(made.answer.video.frames, made.video.frames)


def test_a_change_of_shape_moves_points_and_a_target_class_is_obeyed():
    shaped = clip(2, shape_change=True, **SMALL)
    assert shaped.target.name == shaped.subject.name
    assert abs(shaped.answer_tracks.xy - shaped.tracks.xy).max() > 0.5
    assert clip(2, subject_class="car", target_class="bird", **SMALL).target.name == "bird"


def test_the_background_is_what_lies_outside_the_masks():
    made = clip(3, occluder=True, **SMALL)
    outside = made.masks.frames == 0
    assert np.array_equal(made.background().frames[outside], made.video.frames[outside])


def test_a_drag_to_where_a_point_is_moves_nothing():
    made = clip(4, **SMALL)
    start = dict(zip(made.tracks.names, map(tuple, made.tracks.xy[made.keyframe]), strict=True))
    field = drag(made, start)
    assert field.names == made.tracks.names
    assert field.valid.all()
    assert not field.delta.any()


def test_a_drag_moves_its_point_as_asked_on_the_keyframe_and_no_other():
    made = clip(4, keyframe=5, **SMALL)
    x, y = made.tracks.xy[5, 0]
    field = drag(made, {made.tracks.names[0]: (x + 6, y - 2)})
    assert field.delta[5, 0] == pytest.approx((6, -2), abs=1e-4)
    assert not field.delta[:, 1:].any()


def test_a_drag_onto_another_fixed_point_follows_it_in_every_frame():
    for seed in range(4):
        made = clip(seed, subject_class="car", **SMALL)
        names = made.tracks.names
        front, top = names.index("front"), names.index("top")
        field = drag(made, {"front": tuple(made.tracks.xy[made.keyframe, top])})
        assert np.allclose(made.tracks.xy[:, front] + field.delta[:, front], made.tracks.xy[:, top], atol=1e-3)


def test_a_drag_of_an_unknown_point_names_the_nearest():
    with pytest.raises(InputError, match=r"no point 'frnt'; did you mean 'front'\?"):
        drag(clip(4, **SMALL), {"frnt": (1.0, 1.0)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subject_class": "plain"}, "did you mean 'plane'"),
        ({"frames": 0}, "at least 1 frame"),
        ({"size": (8, 64)}, "16x16"),
        ({"keyframe": 16}, "keyframe 16 is beyond the end"),
    ],
)
def test_what_cannot_be_rendered_is_refused_in_one_line(arguments, message):
    with pytest.raises(InputError, match=message) as refused:
        clip(0, **arguments)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", CLASSES)
def test_a_cutout_has_clear_ground_a_solid_subject_and_points_on_it(name):
    cutout = render_cutout(Subject(name, "green", "white"))
    height, width = cutout.rgba.shape[:2]
    alpha = cutout.rgba[..., 3]
    assert (width, cutout.names) == (256, POINT_NAMES)
    assert not alpha[[0, 1, -2, -1]].any()
    assert not alpha[:, [0, 1, -2, -1]].any()
    assert (alpha == 255).mean() > 0.15
    x, y = cutout.xy.round().astype(int).T
    assert ((x > 0) & (x < width) & (y > 0) & (y < height)).all()
    assert (alpha[y, x] == 255).all()


def test_a_cutout_faces_as_its_source_does():
    for seed in range(6):
        made = clip(seed, **SMALL)
        front, back = (made.cutout.xy[POINT_NAMES.index(name), 0] for name in ("front", "back"))
        assert np.sign(front - back) == made.motion.facing[made.keyframe]


def test_a_cutout_has_no_dark_fringe():
    cutout = render_cutout(Subject("fish", "white", "red"))
    edge = (cutout.rgba[..., 3] > 0) & (cutout.rgba[..., 3] < 128)
    inside = cutout.rgba[..., 3] == 255
    assert cutout.rgba[edge][:, :3].mean() > 0.6 * cutout.rgba[inside][:, :3].mean()


def test_a_written_clip_reads_back(tmp_path):
    made = clip(11, occluder=True, target_class="cat", frames=5, size=(80, 48))
    config = write_clip(made, tmp_path / "job")
    folder = config.parent
    for name, frames in (("source", made.video.frames), ("answer", made.answer.video.frames)):
        pictures = [read_image(path)[..., :3] for path in sorted((folder / name).iterdir())]
        assert np.array_equal(np.stack(pictures), frames)
    for name, masks in (("masks", made.masks.frames), ("answer_masks", made.answer.subject.frames)):
        pictures = [read_image(path)[..., 0] for path in sorted((folder / name).iterdir())]
        assert np.array_equal(np.stack(pictures), masks)
    points = read_points(folder / "points.json")
    assert (points.names, points.frame, points.size) == (made.queries.names, made.keyframe, (80, 48))
    assert np.allclose(points.xy, made.queries.xy, atol=0.01)
    assert np.array_equal(read_image(folder / "concept.png"), made.cutout.rgba)
    assert read_points(folder / "concept.points.json").names == made.cutout.names
    truth = json.loads((folder / "truth.json").read_text())
    assert np.allclose(truth["tracks"]["front"]["xy"], made.tracks.xy[:, 0], atol=1e-3)


def test_writing_a_shorter_clip_over_a_longer_one_leaves_no_old_frames(tmp_path):
    write_clip(clip(1, frames=4, size=(32, 32)), tmp_path)
    write_clip(clip(1, frames=2, size=(32, 32)), tmp_path)
    assert [path.name for path in sorted((tmp_path / "source").iterdir())] == ["00000.png", "00001.png"]
