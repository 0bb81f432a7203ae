"""`dinov2` on tiny random networks of both kinds, in the folders that transformers writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from vswap_embedders.dinov2 import Dinov2, patch_grid
from vswap_embedders.dinov2_weights import preflight
from vswap_embedders.register import Dinov2Options, vswap_embedders
from vswap_embedders.sampling import sample_features
from vswap_kernel.api import Context, Facts
from vswap_kernel.errors import InputError
from vswap_kernel.testing.running import check_spec
from vswap_kernel.types import PointTracks, Video

SIZE = (48, 32)
FACTS = Facts(4, SIZE, ("a",))


def write_network(folder: Path, registers: int = 0, **changes: Any) -> Path:
    """A network of two blocks, its position encodings for 4x4 patches of 4 pixels."""
    from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 16, "patch_size": 4}
    settings = sizes | {"layerscale_value": 0.2} | changes
    if registers:
        config = Dinov2WithRegistersConfig(num_register_tokens=registers, **settings)
        Dinov2WithRegistersModel(config).save_pretrained(folder)
    else:
        Dinov2Model(Dinov2Config(**settings)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("dinov2"))


@pytest.fixture(scope="module")
def with_registers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("registers"), registers=3)


def component(weights: Path, tmp_path: Path, dtype: str = "float32", **options: Any) -> Dinov2:
    settings = {"weights": weights, "patches": 8} | options
    return Dinov2(Dinov2Options.model_validate(settings), Context(tmp_path, dtype=dtype))


def clip(frames: int = 4) -> tuple[Video, PointTracks]:
    """A checked square moves 8 px a frame over noise; the second point is on it too, until it stays behind."""
    pixels = np.random.default_rng(0).integers(0, 80, (frames, SIZE[1], SIZE[0], 3), np.uint8)
    square = np.full((16, 16, 3), 255, np.uint8)
    square[::4, ::2] = (255, 0, 0)
    xy = np.zeros((frames, 2, 2), np.float32)
    for t in range(frames):
        pixels[t, 8:24, 8 * t : 8 * t + 16] = square
        xy[t] = [[8 + 8 * t, 16], [5 + 8 * t, 14]]
    xy[2:, 1] = (4, 28)
    seen = np.ones((frames, 2), bool)
    return Video(pixels, 8.0), PointTracks(("a", "b"), xy, seen, seen.astype(np.float32), SIZE, np.zeros(2, np.int32))


def test_maps_are_the_patch_tokens_of_the_frames_resized_and_normalised(
    folder: Path, with_registers: Path, tmp_path: Path
) -> None:
    from transformers import AutoModel

    frames = np.random.default_rng(1).integers(0, 256, (3, 32, 48, 3), np.uint8)
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    # 8 patches of 4 pixels on the short side of 32: the frame is not resized at all
    pixels = torch.from_numpy(((frames / 255 - mean) / deviation).astype(np.float32)).movedim(-1, 1)
    for weights, registers in ((folder, 0), (with_registers, 3)):
        maps = component(weights, tmp_path).feature_maps(frames)
        assert maps.shape == (3, 32, 8, 12)
        assert maps.dtype == torch.float32
        with torch.no_grad():
            tokens = AutoModel.from_pretrained(weights).eval()(pixels).last_hidden_state[:, 1 + registers :]
        torch.testing.assert_close(maps, tokens.reshape(3, 8, 12, 32).permute(0, 3, 1, 2), atol=1e-4, rtol=1e-4)


def test_cells_cover_the_frame_evenly_at_any_size(tmp_path: Path) -> None:
    """A network without blocks and position encodings: a map tells its own patch's colours alone."""
    weights = write_network(tmp_path / "linear", layerscale_value=0.0)
    made = component(weights, tmp_path, patches=10)
    with torch.no_grad():
        made._network.embeddings.position_embeddings.zero_()
    frame = np.zeros((1, 53, 90, 3), np.uint8)
    frame[:, :, 45:] = 255  # its edge lies in the middle of the frame
    maps = made.feature_maps(frame)
    assert maps.shape[2:] == patch_grid((90, 53), 10) == (10, 17)
    dark, light = maps[0, :, 4, 0], maps[0, :, 4, -1]
    at_edge = sample_features(maps, torch.tensor([[[44.5, 26.0]]]), (90, 53))[0, 0]
    share = ((at_edge - dark) @ (light - dark)) / ((light - dark) @ (light - dark))
    assert 0.2 < float(share) < 0.8
    torch.testing.assert_close(maps[0, :, :, :8].flatten(1), dark[:, None].expand(-1, 80), atol=0.15, rtol=0.05)


def test_an_earlier_layer_is_normalised_as_the_last_one(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoModel

    frames = np.random.default_rng(1).integers(0, 256, (1, 32, 48, 3), np.uint8)
    made = component(folder, tmp_path, layer=1)
    first = made.feature_maps(frames)
    whole = AutoModel.from_pretrained(folder).eval()
    pixels = made._normalisation.pixels(frames, (32, 48), "bicubic", "cpu")
    with torch.no_grad():
        state = whole.layernorm(whole(pixels, output_hidden_states=True).hidden_states[1])[:, 1:]
    torch.testing.assert_close(first, state.reshape(1, 8, 12, 32).permute(0, 3, 1, 2), atol=1e-5, rtol=1e-4)
    assert not torch.equal(first, component(folder, tmp_path).feature_maps(frames))
    with pytest.raises(InputError, match=r"embedder\.layer: .* has 2 blocks, not 5"):
        component(folder, tmp_path, layer=5).feature_maps(frames)


def test_a_point_is_kept_where_it_is_seen_and_looks_as_on_its_keyframe(folder: Path, tmp_path: Path) -> None:
    video, tracks = clip()
    every = component(folder, tmp_path, threshold=None).embed(video, tracks, "square")
    assert every.support.tolist() == [4, 4]
    assert every.vectors.shape == (2, 32)
    assert every.space == "dinov2:32x2:layer2:patches8"
    visible = tracks.visible.copy()
    visible[1, 0] = False
    hidden = PointTracks(tracks.names, tracks.xy, visible, tracks.confidence, SIZE, tracks.keyframe)
    assert component(folder, tmp_path, threshold=None).embed(video, hidden, "").keep[:, 0].tolist() == [
        True,
        False,
        True,
        True,
    ]
    maps = component(folder, tmp_path).feature_maps(video.frames)
    vectors = sample_features(maps, torch.from_numpy(tracks.xy), SIZE)
    likeness = torch.nn.functional.cosine_similarity(vectors, vectors[:1], dim=-1)
    assert float(likeness[2:, 1].max()) < float(likeness[:, 0].min())
    between = float(likeness[2:, 1].max() + likeness[:, 0].min()) / 2
    got = component(folder, tmp_path, threshold=between).embed(video, tracks, "")
    assert got.keep.tolist() == [[True, True], [True, True], [True, False], [True, False]]
    np.testing.assert_allclose(got.vectors[1], vectors[:2, 1].mean(0).numpy(), atol=1e-5)


def test_the_batch_changes_nothing_and_a_second_run_repeats_the_first(folder: Path, tmp_path: Path) -> None:
    video, tracks = clip()
    one, again = (component(folder, tmp_path, batch=3).embed(video, tracks, "") for _ in range(2))
    assert one.digest() == again.digest()
    other = component(folder, tmp_path, batch=1).embed(video, tracks, "")
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-5)


def test_no_points_have_no_embeddings(folder: Path, tmp_path: Path) -> None:
    video, tracks = clip(1)
    none = component(folder, tmp_path).embed(video, tracks.subset(()), "")
    assert none.vectors.shape == (0, 32)
    assert none.keep.shape == (1, 0)


def test_half_precision_is_near_single(folder: Path, tmp_path: Path) -> None:
    video, tracks = clip()
    single = component(folder, tmp_path, threshold=None).embed(video, tracks, "").vectors
    half = component(folder, tmp_path, "bfloat16", threshold=None).embed(video, tracks, "").vectors
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, single, atol=0.1)


def test_folders_that_hold_no_dinov2_network_are_refused(tmp_path: Path) -> None:
    other, pickled, empty = tmp_path / "other", tmp_path / "pickled", tmp_path / "empty"
    for path in (other, pickled, empty):
        path.mkdir()
    (other / "config.json").write_text(json.dumps({"model_type": "vit"}))
    (pickled / "config.json").write_text(json.dumps({"model_type": "dinov2"}))
    (pickled / "pytorch_model.bin").write_bytes(b"PK")
    for weights, message in (
        (other, "is a model of type 'vit', expected dinov2 or dinov2_with_registers"),
        (pickled, "has no .safetensors file"),
        (empty, "no folder of a transformers model"),
    ):
        options = Dinov2Options.model_validate({"weights": weights})
        with pytest.raises(InputError, match=message) as refused:
            preflight(options, FACTS)
        assert "\n" not in str(refused.value)
        assert str(refused.value).startswith("embedder.weights: ")


def test_the_spec_holds_and_a_folder_that_is_one_passes_the_preflight(folder: Path) -> None:
    spec = next(spec for spec in vswap_embedders() if spec.name == "dinov2")
    check_spec(spec)
    assert "feature-maps" in spec.capabilities
    preflight(Dinov2Options.model_validate({"weights": folder}), FACTS)
