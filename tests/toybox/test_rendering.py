from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vswap_toybox.anatomy import POINT_NAMES
from vswap_toybox.motion import Motion
from vswap_toybox.rendering import render, render_chunks, subject_tracks
from vswap_toybox.scene import Occluder, Scene
from vswap_toybox.subject import CLASSES, COLOURS, PATTERNS, Subject

SIZE = (96, 64)


def world(seed, frames=12, name=None):
    rng = np.random.default_rng(seed)
    return Subject.sample(rng, name), Scene.sample(rng), Motion.sample(rng, frames)


def at(frames, tracks):
    """The pixels [T, N, ...] nearest to the tracked points, clipped to the frame."""
    x, y = np.moveaxis(tracks.xy.round().astype(int), -1, 0)
    time = np.arange(len(frames))[:, None]
    return frames[time, y.clip(0, frames.shape[1] - 1), x.clip(0, frames.shape[2] - 1)]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, again, other = (render(*world(seed), SIZE) for seed in (3, 3, 4))
    assert first.frames.tobytes() == again.frames.tobytes()
    assert first.masks.tobytes() == again.masks.tobytes()
    assert (first.frames != other.frames).mean() > 0.5


@pytest.mark.parametrize("chunk", [1, 5, 12])
def test_bytes_do_not_depend_on_the_chunk_length(chunk):
    subject, scene, motion = world(5)
    scene = scene.occluded(Occluder.across(np.random.default_rng(0), motion))
    whole = render(subject, scene, motion, SIZE)
    parts = list(render_chunks(subject, scene, motion, SIZE, chunk=chunk))
    assert max(len(part.frames) for part in parts) <= chunk
    assert np.array_equal(np.concatenate([part.frames for part in parts]), whole.frames)
    assert np.array_equal(np.concatenate([part.masks for part in parts]), whole.masks)


@pytest.mark.parametrize("size", [(96, 64), (64, 96), (65, 47)])
def test_width_and_height_may_differ(size):
    rendering = render(*world(6, frames=3), size)
    assert rendering.frames.shape == (3, size[1], size[0], 3)
    assert rendering.masks.shape == (3, size[1], size[0])


def test_a_subject_at_rest_is_centred_with_pixel_centres_at_integers():
    subject = Subject("fish", "red", "white")
    tracks = subject_tracks(subject, world(0)[1], Motion.of(1, scale=0.5), (101, 101))
    # The middle of a 101 px frame is pixel 50; the fish's body lies 0.1 ahead of its centre, 50.5 px being one unit.
    assert tracks.xy[0, POINT_NAMES.index("centre")] == pytest.approx((50 + 0.05 * 50.5, 50), abs=1e-4)


def test_another_subject_leaves_every_pixel_outside_both_masks_as_it_was():
    for seed in range(8):
        subject, scene, motion = world(seed)
        scene = scene.occluded(Occluder.across(np.random.default_rng(seed), motion))
        other = Subject.sample(np.random.default_rng(100 + seed))
        one, two, none = (render(each, scene, motion, SIZE) for each in (subject, other, None))
        outside = (one.masks == 0) & (two.masks == 0)
        assert outside.any()
        assert np.array_equal(one.frames[outside], two.frames[outside])
        assert np.array_equal(one.frames[outside], none.frames[outside])
        assert not none.masks.any()


@pytest.mark.parametrize("name", CLASSES)
def test_masks_cover_the_visible_points(name):
    for seed in range(4):
        subject, scene, motion = world(seed, name=name)
        size = (192, 144)
        tracks = subject_tracks(subject, scene, motion, size)
        masks = render(subject, scene, motion, size).masks
        assert tracks.visible.any()
        assert (at(masks, tracks)[tracks.visible] > 127).all()


def test_a_mask_is_soft_at_its_edge_and_full_inside():
    masks = render(*world(1, frames=2), SIZE).masks
    assert (masks == 255).sum() > 200
    assert ((masks > 0) & (masks < 255)).any()


@pytest.mark.parametrize(
    ("name", "moving", "still"),
    [
        ("cat", ("back", "bottom_front", "bottom_back"), ("front", "centre")),
        ("fish", ("back", "bottom_front"), ("front", "top", "bottom_back", "centre")),
        ("bird", ("bottom_front", "bottom_back"), ("front", "back", "top", "centre")),
        ("car", (), POINT_NAMES),
    ],
)
def test_points_swing_with_their_own_part_and_others_stay(name, moving, still):
    motion = Motion.of(9, phase=np.linspace(0, 1, 9))
    tracks = subject_tracks(Subject(name, "red", "blue"), world(0)[1], motion, (128, 128))
    travel = dict(zip(tracks.names, np.ptp(tracks.xy, axis=0).max(-1), strict=True))
    assert all(travel[point] > 3 for point in moving)
    assert all(travel[point] == 0 for point in still)


def test_a_subject_whose_parts_swing_half_as_far_has_its_points_on_them_halfway():
    subject, scene = Subject("fish", "red", "blue"), world(0)[1]
    tails = []
    for swing in (0, 0.5, 1):
        motion = Motion.of(1, phase=0.25, swing=swing)
        (place,) = subject_tracks(subject, scene, motion, (128, 128)).subset(["back"]).xy[0]
        root = 63.5 - 0.55 * 0.6 * 64, 63.5  # of the tail, about which it swings
        tails.append(np.arctan2(*(place - root)[::-1]))
    straight, half, whole = np.unwrap(tails)
    assert half - straight == pytest.approx((whole - straight) / 2, abs=1e-3)
    assert abs(whole - straight) == pytest.approx(0.5, abs=1e-3)


def test_the_tail_point_stays_on_the_tail_while_it_swings():
    subject = Subject("cat", "white", "blue")
    motion = Motion.of(9, phase=np.linspace(0, 1, 9))
    size = (256, 256)
    tracks = subject_tracks(subject, world(0)[1], motion, size)
    colours = at(render(subject, world(0)[1], motion, size).frames, tracks.subset(["back"]))
    assert (colours > 150).all(), "the tail is white; the ground and the sky of this scene are not"


def test_a_wheel_turns_in_place_and_its_centre_does_not_move():
    scene = world(0)[1]
    motion = Motion.of(2, phase=np.array([0, 0.25]))
    frames = render(Subject("car", "red", "blue"), scene, motion, (128, 128)).frames.astype(int)
    x, y = subject_tracks(Subject("car", "red", "blue"), scene, motion, (128, 128)).subset(["bottom_front"]).xy[0, 0]
    changed = np.argwhere(abs(frames[1] - frames[0]).max(-1) > 40) - (y, x)
    wheels = np.minimum(np.hypot(*changed.T), np.hypot(changed[:, 0], changed[:, 1] + 2 * 0.55 * 0.6 * 64))
    assert len(changed)
    assert wheels.max() < 0.24 * 0.6 * 64


def test_an_occluder_hides_points_and_mask_where_it_stands():
    subject, scene = Subject("car", "red", "white"), world(2)[1]
    motion = Motion.of(3)
    post = Occluder("post", 0.0, width=0.12, travel=2.4)
    open_masks = render(subject, scene, motion, SIZE).masks
    hidden = render(subject, scene.occluded(post), motion, SIZE)
    tracks = subject_tracks(subject, scene.occluded(post), motion, SIZE)
    centre = POINT_NAMES.index("centre")
    assert tracks.visible[:, centre].tolist() == [True, False, True]
    assert tracks.confidence[:, centre].tolist() == [1, 0, 1]
    assert tracks.visible[1, POINT_NAMES.index("front")]
    middle = np.s_[:, 30:34, 46:50]
    assert (open_masks[middle] == 255).all()
    assert [int(part.max()) for part in hidden.masks[middle]] == [255, 0, 255]
    assert np.array_equal(hidden.masks[0], open_masks[0])


def test_points_out_of_the_frame_are_not_visible_but_still_known():
    motion = Motion.of(3, x=np.array([0, 3, 0]))
    tracks = subject_tracks(Subject("boat", "red", "white"), world(2)[1], motion, SIZE)
    assert tracks.visible.all(1).tolist() == [True, False, True]
    assert not tracks.visible[1].any()
    assert (tracks.xy[1, :, 0] > SIZE[0]).all()


def test_facing_left_is_the_mirror_image():
    subject = Subject("plane", "blue", "white", "spotted")
    scene = world(2)[1]
    right, left = (render(subject, scene, Motion.of(1, facing=facing, rotation=0.2), SIZE).masks for facing in (1, -1))
    assert np.abs(right[:, :, ::-1].astype(int) - left).max() <= 1


def test_every_class_colour_and_pattern_shows():
    scene, motion = world(2)[1], Motion.of(1)
    ground = render(None, scene, motion, SIZE).frames
    subjects = [Subject(name, "red", "white") for name in CLASSES]
    subjects += [Subject("car", colour, "white") for colour in COLOURS if colour != "red"]
    subjects += [Subject("car", "red", "yellow", pattern) for pattern in PATTERNS if pattern != "plain"]
    pictures = {render(subject, scene, motion, SIZE).frames.tobytes() for subject in subjects}
    assert len(pictures) == len(CLASSES) + len(COLOURS) - 1 + len(PATTERNS) - 1
    assert ground.tobytes() not in pictures


def test_proportions_change_the_shape_by_as_much():
    scene, motion = world(2)[1], Motion.of(1)
    short = Subject("fish", "red", "white")
    long = replace(short, length=1.2)
    (one,), (two,) = (subject_tracks(each, scene, motion, (128, 128)).subset(["front"]).xy[0] for each in (short, long))
    assert (two[0] - 63.5) / (one[0] - 63.5) == pytest.approx(1.2, abs=1e-4)


def test_an_unknown_class_is_refused_by_name():
    with pytest.raises(ValueError, match="no 'dog'; known: car"):
        Subject("dog", "red", "white")
