"""`sam2` on a tiny random model of transformers' own classes: what it is fed, what it remembers, where its masks go."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("cv2")

from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError
from vswap_kernel.testing.asking import Maker
from vswap_kernel.testing.cases import patch
from vswap_kernel.testing.checks import check_masks_shape, check_repeats
from vswap_kernel.testing.running import check_spec
from vswap_kernel.types import Masks, PointQueries, Video
from vswap_masks import sam2
from vswap_masks.grow import grow_and_feather
from vswap_masks.register import Sam2Options, vswap_masks
from vswap_masks.sam2 import Sam2
from vswap_masks.sam2_session import Sam2Session
from vswap_masks.sam2_weights import preflight
from vswap_pretrained.models import load_model
from vswap_pretrained.pictures import Normalisation

SIZE = (60, 40)
HARD = {"grow": 0, "feather": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_sam2 import write_sam2

    return write_sam2(tmp_path_factory.mktemp("sam2"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load_model(folder, None, {"sam2_video": "Sam2VideoModel"}, "masks.weights")


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Watches the model of the next component: its calls, the points that its prompt encoder is given. `answer` may
    give other mask logits for the frame's pixels [3, 64, 64]."""
    seen = SimpleNamespace(calls=[], points=[], sessions=[], answer=None)

    def watch(module: Any, args: Any, given: Any) -> None:
        seen.calls.append((given["frame_idx"], given["reverse"], given["frame"][0].clone()))
        seen.sessions.append(given["inference_session"])

    def replace(module: Any, args: Any, given: Any, made: Any) -> None:
        if seen.answer is not None:
            made.pred_masks = seen.answer(given["frame"][0])[None, None]

    def prompted(module: Any, args: Any, given: Any) -> None:
        seen.points.append((given["input_points"].clone(), given["input_labels"].clone()))

    def load(*args: Any) -> Any:
        made = load_model(*args)
        made.register_forward_pre_hook(watch, with_kwargs=True)
        made.register_forward_hook(replace, with_kwargs=True)
        made.prompt_encoder.register_forward_pre_hook(prompted, with_kwargs=True)
        return made

    monkeypatch.setattr(sam2, "load_model", load)
    return seen


def noise_video(frames: int, size: tuple[int, int] = SIZE) -> Video:
    return Video(np.random.default_rng(0).integers(0, 256, (frames, size[1], size[0], 3), np.uint8), 8.0)


def points(*placed: tuple[int, float, float]) -> PointQueries:
    """Each (frame, x, y)."""
    names = tuple(map(str, range(len(placed))))
    frame, xy = np.array([p[0] for p in placed], np.int32), np.array([p[1:] for p in placed], np.float32)
    return PointQueries(names, frame, xy.reshape(-1, 2))


def segment(
    weights: Path, video: Video, queries: PointQueries, tmp_path: Path, dtype: str = "float32", **options: Any
) -> Masks:
    made = Sam2Options.model_validate({"weights": weights, **HARD, **options})
    return Sam2(made, Context(Path(mkdtemp(dir=tmp_path)), dtype=dtype)).segment(video, queries)


def test_points_prompt_their_own_frames_at_their_places(folder: Path, fed: SimpleNamespace, tmp_path: Path) -> None:
    queries = points((5, 0, 0), (2, 59, 39), (2, 30.25, 10.5))
    segment(folder, noise_video(8), queries, tmp_path)
    first, second = fed.points[:2]
    for (place, label), xy in ((first, queries.xy[1:]), (second, queries.xy[:1])):
        assert place.shape == (1, 1, len(xy), 2)
        assert (label == 1).all()
        # the model adds half a pixel to its own 64x64 coordinates and divides by 64
        np.testing.assert_allclose((place[0, 0].numpy() + 0.5) / 64, (xy + 0.5) / SIZE, atol=1e-6)
    assert all((label == -1).all() for _, label in fed.points[2:])  # no point on any other frame


def test_the_object_is_followed_both_ways_from_the_first_keyframe(
    folder: Path, fed: SimpleNamespace, tmp_path: Path
) -> None:
    video = noise_video(8)
    segment(folder, video, points((5, 4, 4), (2, 30, 10)), tmp_path)
    assert [call[:2] for call in fed.calls] == [
        *((2, False), (5, False)),
        *((1, True), (0, True)),
        *((3, False), (4, False), (6, False), (7, False)),
    ]
    for index, _, pixels in fed.calls:
        expected = Normalisation().pixels(video.frames[index : index + 1], (64, 64), "bilinear", "cpu")[0]
        torch.testing.assert_close(pixels, expected)


@pytest.mark.parametrize("reverse", [False, True])
def test_forgetting_what_no_frame_looks_at_changes_nothing(model: Any, reverse: bool) -> None:
    """Against transformers' own propagation with the whole video at hand."""
    from transformers import Sam2VideoInferenceSession

    video, first = noise_video(12), 10 if reverse else 1
    ours = Sam2Session(model, Normalisation(), SIZE, "cpu")
    xy = np.array([[10, 12], [44, 30]], np.float32)
    made = [ours.prompt(first, video.frames[first], xy)]
    made += [ours.follow(t, video.frames[t], reverse) for t in (range(9, -1, -1) if reverse else range(2, 12))]

    pixels = Normalisation().pixels(video.frames, (64, 64), "bilinear", "cpu")
    session = Sam2VideoInferenceSession(pixels, *SIZE[::-1], dtype=torch.float32)
    place = torch.from_numpy(ours.model_coordinates(xy))[None, None]
    session.add_point_inputs(
        session.obj_id_to_idx(1), first, {"point_coords": place, "point_labels": torch.ones(1, 1, 2, dtype=torch.int64)}
    )
    session.obj_with_new_inputs = [1]
    theirs = [model(session, frame_idx=first)]
    theirs = [*model.propagate_in_video_iterator(session, first, reverse=reverse)]
    torch.testing.assert_close(torch.stack(made), torch.cat([out.pred_masks[:, 0] for out in theirs]))


def test_only_what_later_frames_look_at_is_kept(folder: Path, fed: SimpleNamespace, tmp_path: Path) -> None:
    from tiny_sam2 import MEMORIES, POINTERS

    held = []

    def count(pixels: Any) -> Any:
        outputs = fed.sessions[-1].output_dict_per_obj[0]
        held.append(len(outputs["non_cond_frame_outputs"]))
        return torch.ones(16, 16)

    fed.answer = count
    segment(folder, noise_video(40), points((20, 30, 20)), tmp_path)
    assert max(held) == max(MEMORIES, POINTERS) + 1
    session = fed.sessions[-1]
    assert not session.processed_frames
    assert len(session.cache._vision_features) == 1
    outputs = session.output_dict_per_obj[0]
    assert list(outputs["cond_frame_outputs"]) == [20]
    assert not any("high_res_masks" in output for kind in outputs.values() for output in kind.values())


def lit(pixels: Any) -> Any:
    """Logits 16x16: the bright places of the model's picture."""
    return torch.nn.functional.avg_pool2d(pixels.mean(0)[None], 4)[0] - 0.5


@pytest.mark.parametrize("keyframe", [0, 17, 39])
def test_masks_lie_on_their_own_frames_at_the_videos_size(
    keyframe: int, folder: Path, fed: SimpleNamespace, tmp_path: Path
) -> None:
    frames = np.zeros((40, 48, 96, 3), np.uint8)
    for t in range(40):
        frames[t, 12:36, 2 * t : 2 * t + 18] = 255
    fed.answer = lit
    found = segment(folder, Video(frames, 8.0), points((keyframe, 2 * keyframe + 9, 24)), tmp_path).frames
    assert found.dtype == np.uint8
    assert found.shape == (40, 48, 96)
    assert set(np.unique(found)) == {0, 255}
    square = frames[..., 0] > 0
    overlap = ((found > 0) & square).sum((1, 2)) / ((found > 0) | square).sum((1, 2))
    assert overlap.min() > 0.75
    columns = np.arange(96)
    middles = [[columns[part.any(0)].mean() for part in pair] for pair in zip(found > 0, square, strict=True)]
    off = np.subtract(*np.transpose(middles))
    assert np.abs(off).max() < 2  # a cell of the mask is 6 pixels wide
    assert abs(off.mean()) < 0.2


def test_edges_are_grown_and_feathered_as_those_of_other_masks(
    folder: Path, fed: SimpleNamespace, tmp_path: Path
) -> None:
    fed.answer = lit
    video = noise_video(3)
    hard = segment(folder, video, points((1, 4, 4)), tmp_path, threshold=0.4).frames
    soft = segment(folder, video, points((1, 4, 4)), tmp_path, threshold=0.4, grow=2, feather=3).frames
    np.testing.assert_array_equal(soft, grow_and_feather(hard > 0, 2, 3))


def test_the_threshold_is_a_likelihood(folder: Path, fed: SimpleNamespace, tmp_path: Path) -> None:
    fed.answer = lambda pixels: torch.full((16, 16), 1.0)  # a likelihood of 0.73
    assert segment(folder, noise_video(1), points((0, 4, 4)), tmp_path, threshold=0.72).frames.all()
    with pytest.raises(InputError, match="no object is found at the points on frame 0; choose another") as refused:
        segment(folder, noise_video(1), points((0, 4, 4)), tmp_path, threshold=0.74)
    assert "\n" not in str(refused.value)


def test_half_precision_is_near_single(model: Any) -> None:
    video, xy = noise_video(4), np.array([[10, 12]], np.float32)

    def logits(dtype: Any) -> Any:
        session = Sam2Session(model.to(dtype), Normalisation(), SIZE, "cpu")
        return torch.stack([session.prompt(0, video.frames[0], xy), session.follow(1, video.frames[1], False)])

    try:
        single, half = logits(torch.float32), logits(torch.bfloat16)
    finally:
        model.float()
    assert half.dtype == torch.float32
    assert float((half - single).abs().mean()) < 0.25 * float(single.std())


def test_the_kits_checks_hold(folder: Path, tmp_path: Path) -> None:
    check_spec(next(spec for spec in vswap_masks() if spec.name == "sam2"))
    options = Sam2Options.model_validate({"weights": folder})
    make = Maker("masks", lambda scratch: Sam2(options, Context(scratch)))
    for check in (check_masks_shape, check_repeats):
        check(make, patch(), Path(mkdtemp(dir=tmp_path)))


def test_what_can_not_work_is_refused_while_planning(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam2"}))
    other, good = (Sam2Options.model_validate({"weights": path}) for path in (tmp_path, folder))
    preflight(good, Facts(3, SIZE, ("nose",)))
    for options, names, message in (
        (other, ("nose",), f"masks.weights: {tmp_path} is a model of type 'sam2', expected sam2_video"),
        (good, (), "masks: sam2 is prompted by the points, and there are none"),
    ):
        with pytest.raises(InputError, match=message) as refused:
            preflight(options, Facts(3, SIZE, names))
        assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="there are none"):
        segment(folder, noise_video(1), points(), tmp_path)


@pytest.fixture
def job(tmp_path: Path, folder: Path) -> Callable[[], Path]:
    """Writes a job whose masks are `sam2`."""
    import yaml

    from vswap_kernel.encode import write_png

    def write() -> Path:
        (tmp_path / "frames").mkdir()
        for index, frame in enumerate(noise_video(3).frames):
            write_png(tmp_path / "frames" / f"{index}.png", frame)
        (tmp_path / "points.json").write_text(json.dumps({"frame": 1, "points": {"nose": [6, 4]}}))
        config = {
            "video": {"path": "frames", "fps": 8},
            "points": {"file": "points.json"},
            "tracker": {"name": "drift"},
            "masks": {"name": "sam2", "weights": str(folder)},
            "swapper": {"name": "paint"},
        }
        path = tmp_path / "job.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    return write


def test_one_line_of_a_config_makes_the_masks(job: Callable[[], Path], tmp_path: Path) -> None:
    import small_plugin
    import vswap_masks.register
    from vswap_kernel.registry import Registry
    from vswap_kernel.run import run_config

    registry = Registry()
    for module in (small_plugin, vswap_masks.register):
        registry.add(lambda module=module: module, module.__name__, "vswap", "0.1")
    done = run_config(job(), out=tmp_path / "run", store=tmp_path / "store", registry=registry)
    assert Masks.load(done.folder / "stages" / "masks").frames.shape == (3, 40, 60)
