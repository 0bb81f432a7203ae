"""The clips that the tracker is trained on: is what they say of their points true?"""

import pytest

torch = pytest.importorskip("torch")

import numpy as np

from vswap_kernel.encode import write_png
from vswap_toybox.tracking.clips import TrackedClip, random_view, with_queries
from vswap_toybox.tracking.data_photos import photo_clip, read_photos
from vswap_toybox.tracking.data_toybox import toybox_clip
from vswap_toybox.tracking.dense_truth import NAMED
from vswap_toybox.tracking.photometry import changed_light

FRAMES = 8


def drawn(seed):
    return torch.Generator().manual_seed(seed)


def smooth_photos(count):
    """Pictures of low frequencies, so that a colour tells of a place to a fraction of a pixel."""
    draw = drawn(0)
    coarse = torch.rand(count, 3, 12, 12, generator=draw) * 255
    return list(torch.nn.functional.interpolate(coarse, (200, 200), mode="bicubic").clamp(0, 255).to(torch.uint8))


def colours_seen(clip):
    """[T, N, 3] at each point's place."""
    height, width = clip.frames.shape[2:]
    grid = (clip.xy + 0.5) * 2 / torch.tensor([width, height]) - 1
    seen = torch.nn.functional.grid_sample(clip.frames.float(), grid[:, :, None], align_corners=False)
    return seen[..., 0].transpose(1, 2)


def colour_changes(clip):
    """How much each visible place differs in colour from where its point is seen first, and from another point's."""
    colours, first = colours_seen(clip), clip.visible.float().argmax(0)
    look = colours[first, torch.arange(colours.shape[1])]
    own, other = ((colours - each).abs().mean(-1)[clip.visible] for each in (look, look.roll(7, 0)))
    return own, other


@pytest.mark.parametrize("seed", range(3))
def test_a_moved_photograph_has_the_colour_of_its_point_wherever_the_track_goes(seed):
    own, other = colour_changes(photo_clip(smooth_photos(4), FRAMES, 96, 80, drawn(seed)))
    # what lies at the very edge of a piece is blended with what is behind it
    assert own.median() < 1
    assert own.quantile(0.95) < 8 < other.median()


@pytest.mark.parametrize("seed", range(3))
def test_a_toybox_clip_has_the_colour_of_its_point_wherever_the_track_goes(seed):
    own, other = colour_changes(toybox_clip(seed, FRAMES, 96))
    assert own.median() < 2
    assert own.median() < other.median() / 8


def test_points_behind_the_occluder_are_hidden():
    clips = [toybox_clip(seed, 16, 64) for seed in range(6)]
    inside = [((clip.xy >= 0) & (clip.xy <= 63)).all(-1) for clip in clips]
    hidden = sum(int((within & ~clip.visible).sum()) for clip, within in zip(clips, inside, strict=True))
    shown = sum(int(clip.visible.sum()) for clip in clips)
    assert 0.02 < hidden / shown < 0.5
    assert not any(bool((clip.visible & ~((clip.xy >= -0.5) & (clip.xy <= 63.5)).all(-1)).any()) for clip in clips)


def test_views_keep_tracks_on_their_points():
    clip = photo_clip(smooth_photos(4), 16, 128, 80, drawn(3))
    for seed in range(4):
        view = random_view(clip, FRAMES, 96, drawn(seed))
        assert view.frames.shape == (FRAMES, 3, 96, 96)
        own, other = colour_changes(view)
        assert own.median() < 1.5
        assert own.quantile(0.9) < 8 < other.median()


def test_a_mirrored_clip_has_its_tracks_mirrored():
    clip = TrackedClip(torch.arange(6.0).expand(1, 3, 2, 6), torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1).bool())
    mirrored = clip.mirrored()
    assert mirrored.frames[0, 0, 0].tolist() == [5, 4, 3, 2, 1, 0]
    assert mirrored.xy.tolist() == [[[4.0, 0.0]]]


def test_points_are_asked_for_where_they_are_seen_the_favoured_ones_first():
    clip = toybox_clip(2, FRAMES, 64)
    queries, xy, visible = with_queries(clip, 30, drawn(0), favoured=NAMED)
    frame = queries[:, 0].long()
    every = torch.arange(30)
    assert visible[every, frame].all()
    assert torch.equal(xy[every, frame], queries[:, 1:])
    named = clip.xy[:, :NAMED][:, clip.visible[:, :NAMED].any(0)].transpose(0, 1)
    assert torch.equal(torch.sort(xy[: len(named), 0, 0])[0], torch.sort(named[:, 0, 0])[0])


def test_light_changes_but_not_the_range():
    frames = smooth_photos(1)[0].float().expand(4, -1, -1, -1)
    for seed in range(5):
        changed = changed_light(frames, drawn(seed))
        assert changed.shape == frames.shape
        assert changed.min() >= 0
        assert changed.max() <= 255
        assert torch.equal(changed, changed_light(frames, drawn(seed)))


def test_photographs_are_read_by_name(tmp_path):
    for name, value in (("b.png", 20), ("a.png", 10)):
        write_png(tmp_path / name, np.full((9, 7, 3), value, np.uint8))
    (tmp_path / "note.txt").write_text("not a picture")
    photos = read_photos(tmp_path)
    assert [(tuple(photo.shape), int(photo.max())) for photo in photos] == [((3, 9, 7), 10), ((3, 9, 7), 20)]
    with pytest.raises(FileNotFoundError, match="no photographs"):
        read_photos(make_empty(tmp_path))


def make_empty(folder):
    (folder / "empty").mkdir()
    return folder / "empty"
