"""`attention` on a tiny random model: its arithmetic is done again here from the attention's own probabilities, and a
steered model shows where the mask has to lie."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from vswap_kernel.api import Context
from vswap_kernel.config import load_config
from vswap_kernel.encode import write_png
from vswap_kernel.errors import ConfigError, InputError
from vswap_kernel.plan import make_plan
from vswap_kernel.registry import Registry
from vswap_kernel.run import run_config
from vswap_kernel.testing.asking import Maker
from vswap_kernel.testing.cases import patch
from vswap_kernel.testing.checks import check_masks_shape, check_repeats
from vswap_kernel.testing.running import check_spec
from vswap_kernel.types import Masks, PointQueries, Prompt, Video

cv2 = pytest.importorskip("cv2")
torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from vswap_masks.attention import Attention, subject_tokens
from vswap_masks.register import AttentionOptions, vswap_masks

JEEP = (10, 11, 12, 13)
"""The tiny tokenizer reads letters: start, a, p h o t o, o f, a, j e e p, end."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"
Corner = Callable[[Any, Any], Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_diffusion import write_model

    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Any:
    """Its cross-attention is made sharper: that of random weights looks at all tokens alike."""
    from vswap_backbones.register import StableDiffusionOptions
    from vswap_backbones.sd15 import StableDiffusion

    made = StableDiffusion(StableDiffusionOptions.model_validate({"weights": folder}), Context(folder))
    with torch.no_grad():
        for layer in made.layers:
            made.unet.get_submodule(layer.path).to_q.weight.mul_(30)
    return made


def points(*xy: tuple[float, float]) -> PointQueries:
    names = tuple(map(str, range(len(xy))))
    return PointQueries(names, np.zeros(len(xy), np.int32), np.array(xy, np.float32).reshape(-1, 2))


def noise_video(size: tuple[int, int], frames: int = 3) -> Video:
    """Coarse coloured noise, another in each frame; size (width, height)."""
    random = np.random.default_rng(1)
    coarse = random.integers(0, 256, (frames, 5, 6, 3), dtype=np.uint8)
    return Video(np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in coarse]), 8.0)


def segment(
    tmp_path: Path, backbone: Any, video: Video, at: PointQueries | None = None, seed: int = 0, **options: Any
) -> Masks:
    scratch = Path(mkdtemp(dir=tmp_path))
    chosen = AttentionOptions(**{"subject": "jeep", "grow": 0, "feather": 0} | options)
    context = Context(scratch, seed=seed, components={"backbone": backbone})
    return Attention(chosen, context).segment(video, points() if at is None else at)


class Recording:
    """An attention processor that keeps its probabilities [frames * heads, queries, 77]."""

    def __init__(self) -> None:
        self.kept: Any = None

    def __call__(self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, **kwargs: Any) -> Any:
        query, key = attn.to_q(hidden_states), attn.to_k(encoder_hidden_states)
        query, key, value = map(attn.head_to_batch_dim, (query, key, attn.to_v(encoder_hidden_states)))
        self.kept = attn.get_attention_scores(query, key)
        return attn.to_out[1](attn.to_out[0](attn.batch_to_head_dim(torch.bmm(self.kept, value))))


@contextmanager
def recorded(backbone: Any, scales: Sequence[int]) -> Iterator[list[tuple[int, Recording]]]:
    """(stride, recording) of the layers of those scales."""
    attentions = [(x.stride, backbone.unet.get_submodule(x.path)) for x in backbone.layers if x.stride in scales]
    before = [attention.processor for _, attention in attentions]
    recordings = [(stride, Recording()) for stride, _ in attentions]
    for (_, attention), (_, recording) in zip(attentions, recordings, strict=True):
        attention.set_processor(recording)
    yield recordings
    for (_, attention), processor in zip(attentions, before, strict=True):
        attention.set_processor(processor)


def enlarge(picture: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    size = (picture.shape[1] * factor, picture.shape[0] * factor)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR))


def shares_by_hand(
    backbone: Any, frame: NDArray[np.uint8], scales: Sequence[int], timesteps: Sequence[int], ensemble: int
) -> NDArray[np.float32]:
    """Attention [H, W] to the jeep over its largest value, from one U-Net pass after the other."""
    height, width = frame.shape[:2]
    frame = np.pad(frame, ((0, -height % 8), (0, -width % 8), (0, 0)), mode="edge")
    latents = backbone.encode(frame[None])
    rows, columns = latents.shape[2:]
    text, finest, maps = backbone.embed_text(Prompt("a photo of a jeep")), min(scales), []
    noises = torch.randn((ensemble, 4, rows, columns), generator=torch.Generator().manual_seed(5))
    with recorded(backbone, scales) as recordings:
        for timestep in timesteps:
            for noise in noises:
                alpha = float(backbone.alphas_cumprod[timestep])
                with torch.no_grad():
                    backbone.predict(alpha**0.5 * latents + (1 - alpha) ** 0.5 * noise[None], timestep, text, frames=1)
                for stride, recording in recordings:
                    jeep = recording.kept.mean(0)[:, list(JEEP)].sum(1).numpy()
                    cells = jeep.reshape(-(-rows // stride), -(-columns // stride))
                    maps.append(enlarge(cells, stride // finest)[: -(-rows // finest), : -(-columns // finest)])
    share = np.mean(maps, axis=0)
    return enlarge(share / share.max(), 8 * finest)[:height, :width]


@pytest.mark.parametrize(
    ("size", "scales", "timesteps", "ensemble"),
    [
        ((96, 64), (2, 4), (261,), 1),
        ((75, 53), (2, 4), (261,), 3),
        ((100, 41), (8, 1, 4), (50, 700), 2),
        ((24, 16), (2, 4), (261,), 1),
    ],
)
def test_a_mask_is_the_attention_of_each_frame_cut_at_the_threshold(
    size: tuple[int, int],
    scales: tuple[int, ...],
    timesteps: tuple[int, ...],
    ensemble: int,
    backbone: Any,
    tmp_path: Path,
) -> None:
    video = noise_video(size)
    shares = [shares_by_hand(backbone, frame, scales, timesteps, ensemble) for frame in video.frames]
    threshold = float(np.clip(np.median(shares), 0.01, 0.99))
    found = segment(
        tmp_path, backbone, video, seed=5, scales=scales, timesteps=timesteps, ensemble=ensemble, threshold=threshold
    )
    assert found.frames.shape == (3, size[1], size[0])
    clear = np.abs(shares - np.float32(threshold)) > 1e-4
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(found.frames[clear] == 255, (np.stack(shares) >= threshold)[clear])
    assert set(np.unique(found.frames)) == {0, 255}


@contextmanager
def steered(backbone: Any, tokens: Sequence[int], lit: Corner, latent_size: tuple[int, int]) -> Iterator[None]:
    """Places (x, y) in 0..1 that `lit` names look at `tokens`; all others look at every token alike."""
    rows, columns = latent_size
    hooks = []

    def look(stride: int) -> Callable[..., Any]:
        y, x = np.mgrid[: rows // stride, : columns // stride] + 0.5
        places = torch.from_numpy(np.ravel(lit(x * stride / columns, y * stride / rows)))
        return lambda module, args, query: torch.where(places[None, :, None], 10.0, 0.0).expand_as(query)

    def known(module: Any, args: Any, key: Any) -> Any:
        row = torch.zeros(77, 1)
        row[list(tokens)] = 10.0
        return row.expand_as(key)

    for layer in backbone.layers:
        attention = backbone.unet.get_submodule(layer.path)
        hooks += [attention.to_q.register_forward_hook(look(layer.stride)), attention.to_k.register_forward_hook(known)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def upper_right(x: Any, y: Any) -> Any:
    return (x > 0.5) & (y < 0.5)


def two_corners(x: Any, y: Any) -> Any:
    return ((x < 0.25) & (y < 0.25)) | ((x > 0.75) & (y > 0.75))


def test_the_mask_lies_where_the_subjects_words_are_looked_at(backbone: Any, tmp_path: Path) -> None:
    video = noise_video((128, 64), 2)
    down, across = np.mgrid[:64, :128]
    with steered(backbone, JEEP, upper_right, (8, 16)):
        found = segment(tmp_path, backbone, video).frames
        other = segment(tmp_path, backbone, video, prompt="a photo of a tree by a jeep", ensemble=1).frames
    assert (found[:, (across > 72) & (down < 24)] == 255).all()
    assert not found[:, (across < 56) | (down > 40)].any()
    # in that prompt the positions steered are the tree's: the jeep is looked at everywhere else
    assert not other[:, (across > 72) & (down < 24)].any()
    assert (other[:, (across < 56) | (down > 40)] == 255).all()


def test_only_parts_that_hold_the_points_are_kept_unless_all_are_asked_for(backbone: Any, tmp_path: Path) -> None:
    video = noise_video((128, 128))
    first, second = np.zeros((2, 128, 128), bool)
    first[:64, :64], second[64:, 64:] = True, True
    with steered(backbone, JEEP, two_corners, (16, 16)):
        everything = segment(tmp_path, backbone, video, points((10, 10)), keep="all").frames > 0
        one = segment(tmp_path, backbone, video, points((10, 10))).frames > 0
        with pytest.raises(InputError, match="'jeep' is not found at the points on frame 0; choose") as refused:
            segment(tmp_path, backbone, video, points((100, 30)))
    assert "\n" not in str(refused.value)
    assert everything[:, first].any()
    assert everything[:, second].any()
    np.testing.assert_array_equal(one, everything & first)


def test_edges_are_grown_and_feathered_as_those_of_other_masks(backbone: Any, tmp_path: Path) -> None:
    from vswap_masks.grow import grow_and_feather

    video = noise_video((128, 64), 2)
    with steered(backbone, JEEP, upper_right, (8, 16)):
        hard = segment(tmp_path, backbone, video).frames
        soft = segment(tmp_path, backbone, video, grow=4, feather=3).frames
    np.testing.assert_array_equal(soft, grow_and_feather(hard > 0, 4, 3))


def test_a_frame_of_odd_sides_is_read_as_if_its_edge_went_on(backbone: Any, tmp_path: Path) -> None:
    video = noise_video((75, 53))
    wide = Video(np.pad(video.frames, ((0, 0), (0, 3), (0, 5), (0, 0)), mode="edge"), 8.0)
    found, whole = (segment(tmp_path, backbone, x, threshold=0.8).frames for x in (video, wide))
    assert found.any()
    assert not found.all()
    np.testing.assert_array_equal(found, whole[:, :53, :75])


def test_frames_are_read_in_batches_that_change_nothing(
    backbone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, encoded = list[int](), list[int]()
    predict, encode = backbone.predict, backbone.encode

    def counting_predict(latents: Any, *args: Any, **kwargs: Any) -> Any:
        passes.append(len(latents))
        return predict(latents, *args, **kwargs)

    def counting_encode(frames: Any) -> Any:
        encoded.append(len(frames))
        return encode(frames)

    monkeypatch.setattr(backbone, "predict", counting_predict)
    monkeypatch.setattr(backbone, "encode", counting_encode)
    video, found = noise_video((64, 48), 5), {}
    for batch in (1, 4, 64):
        found[batch] = segment(tmp_path, backbone, video, batch=batch, ensemble=2, threshold=0.8).frames
    assert encoded == [1] * 5 + [2, 2, 1] + [5]
    assert passes == [1] * 10 + [4, 4, 2] + [10]
    assert 0 < (found[64] > 0).mean() < 1
    for batch in (1, 4):  # other batches round sums otherwise: a pixel at the very threshold may fall to either side
        assert (found[batch] != found[64]).mean() < 1e-3


def test_the_seed_draws_the_noise_and_every_frame_has_the_same(backbone: Any, tmp_path: Path) -> None:
    still = Video(np.repeat(noise_video((64, 48), 1).frames, 4, 0), 8.0)
    options: dict[str, Any] = {"threshold": 0.8, "batch": 1, "ensemble": 1}
    first, again, other = (segment(tmp_path, backbone, still, seed=seed, **options) for seed in (1, 1, 2))
    assert (first.frames == first.frames[0]).all()
    assert first.digest() == again.digest()
    assert first.digest() != other.digest()


def test_no_hook_stays_on_the_backbone(backbone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = noise_video((64, 48), 1)
    segment(tmp_path, backbone, video)
    with monkeypatch.context() as broken, pytest.raises(KeyError, match="no memory"):
        broken.setattr(backbone, "encode", lambda *_: {}["no memory"])
        segment(tmp_path, backbone, video)
    for layer in backbone.layers:
        attention = backbone.unet.get_submodule(layer.path)
        assert not attention.to_q._forward_hooks
        assert not attention.to_k._forward_hooks
    assert not backbone._captures


def test_scales_that_the_backbone_does_not_have_are_refused(
    backbone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbone, "_layers", [layer for layer in backbone.layers if layer.stride < 8])
    with pytest.raises(InputError, match=r"masks\.scales: .* it has 1, 2, 4"):
        segment(tmp_path, backbone, noise_video((64, 48), 1), scales=(8,))


def test_the_kits_checks_hold(backbone: Any, tmp_path: Path) -> None:
    check_spec(next(spec for spec in vswap_masks() if spec.name == "attention"))
    options = AttentionOptions(subject="jeep", keep="all", ensemble=1)
    make = Maker("masks", lambda scratch: Attention(options, Context(scratch, components={"backbone": backbone})))
    for check in (check_masks_shape, check_repeats):
        check(make, patch(), Path(mkdtemp(dir=tmp_path)))


@pytest.mark.parametrize(
    ("prompt", "subject", "positions"),
    [
        ("a photo of a {subject}", "jeep", [*JEEP]),
        ("a scar on a car", "car", [9, 10, 11]),
        ("A  Red\tCar, on a road", "red car", [2, 3, 4, 5, 6, 7]),
        ("{subject} on a road", "car", [1, 2, 3]),
        ("a " * 72 + "{subject}", "car", [73, 74, 75]),
    ],
)
def test_the_subjects_tokens_are_those_of_its_own_words(
    prompt: str, subject: str, positions: list[int], backbone: Any
) -> None:
    assert subject_tokens(backbone.tokenizer, AttentionOptions(subject=subject, prompt=prompt)) == positions


@pytest.mark.parametrize("prompt", ["a " * 73 + "{subject}", "a" * 80 + " {subject}", "a " * 71 + "ab {subject}"])
def test_a_prompt_that_is_cut_off_before_the_subject_ends_is_refused(
    prompt: str, backbone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbone, "encode", lambda *_: pytest.fail("frames were read"))
    with pytest.raises(InputError, match=r"masks\.subject: 'car' stands beyond the 77 tokens") as refused:
        segment(tmp_path, backbone, noise_video((64, 48)), prompt=prompt, subject="car")
    assert "\n" not in str(refused.value)


def test_a_subject_of_more_tokens_than_are_read_is_refused(backbone: Any) -> None:
    for letters, known in ((75, True), (76, False), (100, False)):
        options = AttentionOptions(subject=(LETTERS * 4)[:letters], prompt="{subject}")
        if known:
            assert subject_tokens(backbone.tokenizer, options) == list(range(1, 76))
            continue
        with pytest.raises(InputError, match="stands beyond the 77 tokens"):
            subject_tokens(backbone.tokenizer, options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "a dog"}, "subject: 'car' is not in the prompt 'a dog'; write {subject} in the prompt"),
        ({"prompt": "a scar"}, "subject: 'car' is not in the prompt 'a scar'"),
        ({"prompt": "very " * 75 + "{subject}"}, "subject: 'car' stands beyond the 77 tokens"),
        ({"subject": " "}, "String should match pattern"),
        ({"scales": [3]}, "Input should be 1, 2, 4 or 8"),
        ({"timesteps": []}, "at least 1 item"),
    ],
)
def test_options_that_can_not_work_are_refused_before_anything_is_loaded(options: Any, message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        AttentionOptions(**{"subject": "car"} | options)
    assert message in str(refused.value)


@pytest.fixture
def job(tmp_path: Path, folder: Path) -> Callable[..., Path]:
    """Writes a job whose masks are `attention`; keyword arguments replace fields, None takes one out."""
    (tmp_path / "frames").mkdir()
    for index, frame in enumerate(noise_video((48, 40)).frames):
        write_png(tmp_path / "frames" / f"{index}.png", frame)
    (tmp_path / "points.json").write_text(json.dumps({"frame": 0, "points": {"nose": [6, 4]}}))

    def write(**fields: Any) -> Path:
        config = {
            "video": {"path": "frames", "fps": 8},
            "points": {"file": "points.json"},
            "tracker": {"name": "drift"},
            "masks": {"name": "attention", "subject": "jeep", "threshold": 0.01},
            "backbone": {"name": "sd15", "weights": str(folder)},
            "swapper": {"name": "paint"},
        } | fields
        path = tmp_path / "job.yaml"
        path.write_text(yaml.safe_dump({key: value for key, value in config.items() if value is not None}))
        return path

    return write


@pytest.fixture
def registry() -> Registry:
    """The kernel's small plugin, the masks and the backbones."""
    import small_plugin
    import vswap_backbones.register
    import vswap_masks.register

    made = Registry()
    for module in (small_plugin, vswap_backbones.register, vswap_masks.register):
        made.add(lambda module=module: module, module.__name__, "vswap", "0.1")
    return made


def test_a_run_makes_the_masks_with_the_backbone_of_the_config(
    job: Callable[..., Path], registry: Registry, tmp_path: Path
) -> None:
    done = run_config(job(), out=tmp_path / "run", store=tmp_path / "store", registry=registry)
    assert Masks.load(done.folder / "stages" / "masks").frames.shape == (3, 40, 48)


def test_without_a_backbone_or_the_subject_in_the_prompt_the_plan_is_refused(
    job: Callable[..., Path], registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vswap_kernel.registry import Component

    monkeypatch.setattr(Component, "create", lambda *_: pytest.fail("a component was made while planning"))
    keys = [
        {stage.name: stage.key for stage in make_plan(load_config(job(), registry, [f"seed={n}"]), registry).stages}
        for n in (0, 1)
    ]
    assert keys[0]["masks"] != keys[1]["masks"]
    for fields, message in (
        ({"backbone": None}, "masks 'attention' .* needs a backbone component that offers sd15-unet"),
        ({"masks": {"name": "attention", "subject": "car", "prompt": "a dog"}}, "masks: subject: 'car' is not in the"),
        ({"masks": {"name": "attention"}}, "masks.subject: missing"),
    ):
        with pytest.raises(ConfigError, match=message) as refused:
            make_plan(load_config(job(**fields), registry), registry)
        assert "\n" not in str(refused.value)
