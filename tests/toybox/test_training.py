"""Training of the Toybox model at tiny size: every stage runs, goes on where it stopped, and its export loads."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from safetensors.torch import load_file
from torch.nn import functional

from vswap_kernel.api import Context
from vswap_kernel.pictures import read_image
from vswap_kernel.registry import Registry
from vswap_kernel.types import Prompt
from vswap_toybox.training import loop, stages
from vswap_toybox.training.commands import main
from vswap_toybox.training.judge import judge_clips, labels
from vswap_toybox.training.models import TINY
from vswap_toybox.training.ranks import Ranks
from vswap_toybox.training.stages import STAGES, Plan
from vswap_toybox.training.world import CLASSES, COLOUR_NAMES

TRAINED = ("vae", "unet", "motion")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages, two steps each."""
    folder: Path = tmp_path_factory.mktemp("work")
    main(["all", "--tiny", "--steps", "2", "--batch", "2", "--work", str(folder)])
    return folder


@pytest.fixture
def plan(work: Path, tmp_path: Path) -> Plan:
    """A plan with a copy of what the stages of `work` have left, but for their checkpoints."""
    left_out = shutil.ignore_patterns("checkpoint.safetensors", "log.jsonl", "samples")
    for name in ("data", "vae", "text", "unet"):
        shutil.copytree(work / name, tmp_path / name, ignore=left_out)
    return Plan(tmp_path, TINY, Ranks(), tiny=True)


def train(plan: Plan, stage: str, **schedule: Any) -> dict[str, bytes]:
    """Run a stage; the bytes of all that its checkpoint holds."""
    STAGES[stage].run(plan, loop.Schedule(batch=2, **schedule))
    held = load_file(plan.work / stage / "checkpoint.safetensors")
    return {name: value.numpy().tobytes() for name, value in held.items()}


@pytest.mark.parametrize("stage", TRAINED)
def test_a_killed_stage_goes_on_to_the_same_bytes(
    plan: Plan, stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(plan, stage, steps=2)
    (plan.work / stage / "checkpoint.safetensors").unlink()
    step = loop.Loop._step

    def killed(self: loop.Loop, clock: float) -> None:
        if self.progress.step == 1:
            raise KeyboardInterrupt
        step(self, clock)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "_step", killed)
        patch.setattr(loop.Loop, "_do", saves_only(loop.Loop._do))
        with pytest.raises(KeyboardInterrupt):
            train(plan, stage, steps=2, save_every=0.0)
    assert train(plan, stage, steps=2) == whole


def saves_only(do: Any) -> Any:
    return lambda self, name: do(self, name) if name == "save" else None


@pytest.mark.parametrize("stage", ["vae", "unet"])
def test_a_finished_stage_is_trained_further_by_a_longer_schedule(plan: Plan, stage: str) -> None:
    before = train(plan, stage, steps=1)
    assert train(plan, stage, steps=1) == before
    after = train(plan, stage, steps=2)
    assert {name for name in before if name.startswith("mean/") and before[name] != after[name]}


def test_every_stage_logs_figures_and_draws_samples(work: Path) -> None:
    for stage, figure in (
        ("vae", "psnr_wide_subject"),
        ("unet", "held"),
        ("motion", "held_v"),
        ("judge", "held_class"),
    ):
        row = json.loads((work / stage / "log.jsonl").read_text().splitlines()[-1])
        assert row["step"] == 2
        assert np.isfinite(row[figure])
        (sheet,) = (work / stage / "samples").glob("0*.png")
        assert sheet.stat().st_size > 1000


def test_the_judge_scores_pictures_and_clips_beside_renderings(work: Path) -> None:
    scores = json.loads((work / "judge" / "scores.json").read_text())
    shares = {f"{kind}_{what}" for kind in ("sample", "video", "real") for what in ("class", "colour")}
    assert scores.keys() == shares | {"samples", "video_samples"}
    assert all(0 <= scores[name] <= 1 for name in shares)
    row = json.loads((work / "judge" / "log.jsonl").read_text().splitlines()[-1])
    assert (scores["real_class"], scores["real_colour"]) == (row["held_class"], row["held_colour"])
    captions = json.loads((work / "judge" / "samples" / "clips.json").read_text())
    sheet = read_image(work / "judge" / "samples" / "clips.png")
    assert scores["video_samples"] == len(captions) == 4
    assert sheet.shape[:2] == (4 * (2 * 32 + 2), 8 * (2 * 32 + 2))


def test_the_judge_does_without_a_motion_adapter(plan: Plan) -> None:
    train(plan, "judge", steps=1)
    scores = json.loads((plan.work / "judge" / "scores.json").read_text())
    assert "sample_class" in scores
    assert not [name for name in scores if name.startswith("video")]


def test_the_judge_of_clips_looks_for_the_caption_in_frames_of_its_whole_length() -> None:
    """Colours change halfway through each clip, classes only in the last frame."""
    captions = ["a red cat on the snow", "a striped blue boat over the sea", "a green fish in the desert"] * 3

    def drawn(adapter: Any, prompts: list[str], seed: int) -> Any:
        found = labels(prompts).float()[:, None].repeat(1, 16, 1)
        found[:, 8:, 1] += 1
        found[:, 15, 0] += 1
        return torch.cat([found, torch.zeros(len(prompts), 16, 1)], 2)[..., None, None]

    def judge(pictures: Any) -> Any:
        classes, colours, _ = pictures[:, :, 0, 0].long().T
        one_hot = functional.one_hot
        return torch.cat([one_hot(classes % len(CLASSES), len(CLASSES)), one_hot(colours, len(COLOUR_NAMES))], 1)

    scores, clips = judge_clips(judge, SimpleNamespace(model=torch.nn.Identity(), draw_samples=drawn), captions, "cpu")
    assert scores == {"video_samples": 9, "video_class": 0.75, "video_colour": 0.5}
    assert len(clips) == 9


def test_the_minutes_given_end_a_stage(plan: Plan) -> None:
    STAGES["vae"].run(plan, loop.Schedule(minutes=1e-6, batch=2))
    row = json.loads((plan.work / "vae" / "log.jsonl").read_text().splitlines()[-1])
    assert row["step"] in (1, 2)


def test_the_latents_have_unit_variance_and_change_with_the_vae(work: Path, plan: Plan) -> None:
    (folder,) = (work / "data").glob("latents-*")
    latents = load_file(next(folder.glob("pictures-train-*")))
    assert 0.6 < float(latents["mean"].float().std()) < 1.6
    vae = stages.frozen_vae(plan)
    name = stages.encode_all(plan.data, (), vae, plan.ranks).name
    assert name == folder.name
    vae.register_to_config(scaling_factor=2.0)
    assert stages.encode_all(plan.data, (), vae, plan.ranks).name != name


def made(work: Path, scratch: Path) -> tuple[Any, Any]:
    registry, context = Registry.discover(), Context(scratch)
    backbone = registry.create("backbone", "sd15", {"weights": work / "export" / "model"}, context)
    motion = registry.create("motion", "animatediff", {"weights": work / "export" / "motion"}, context)
    return backbone, motion


def test_the_export_loads_as_any_other_model_does(work: Path, tmp_path: Path) -> None:
    backbone, motion = made(work, tmp_path)
    assert len(backbone.layers) == 16
    assert not motion.norm_over_frames
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    latents = backbone.encode(frames)
    assert latents.shape == (3, 4, 8, 8)
    text = backbone.embed_text(Prompt("a striped red car on a green field"))
    with torch.no_grad(), motion.attach(backbone):
        predicted = backbone.predict(latents, 500, text, frames=3)
    assert predicted.shape == latents.shape
    assert predicted.isfinite().all()
    assert backbone.decode(latents).shape == frames.shape


def test_the_export_is_half_precision_and_tells_its_history(work: Path) -> None:
    for file in (work / "export").rglob("*.safetensors"):
        kinds = {value.dtype for value in load_file(file).values() if value.is_floating_point()}
        assert kinds == {torch.float16}, file
    history = json.loads((work / "export" / "training.json").read_text())
    assert history["unet"]["step"] == 2
    assert str(work) not in "".join(file.read_text() for file in (work / "export").rglob("*.json"))


def test_training_goes_on_from_an_export_alone(work: Path, tmp_path: Path) -> None:
    start = work / "export"
    (tmp_path / "data").symlink_to(work / "data")
    main(["unet", "--tiny", "--steps", "1", "--batch", "2", "--work", str(tmp_path), "--from-export", str(start)])
    main(["export", "--tiny", "--work", str(tmp_path), "--from-export", str(start), "--out", str(tmp_path / "out")])
    old, new = (
        load_file(folder / "model/unet/diffusion_pytorch_model.safetensors") for folder in (start, tmp_path / "out")
    )
    moved = max(float((new[name].float() - old[name].float()).abs().max()) for name in old)
    assert 0 < moved < 1e-3
    vaes = [
        (folder / "model/vae/diffusion_pytorch_model.safetensors").read_bytes() for folder in (start, tmp_path / "out")
    ]
    assert vaes[0] == vaes[1]


@pytest.mark.slow
def test_two_processes_train_one_model(work: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(work / "data")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "vswap_toybox.train", "vae", "--tiny", "--steps", "2", "--batch", "2", "--work", str(tmp_path)]
    ran = subprocess.run([*launch, *command], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    row = json.loads((tmp_path / "vae" / "log.jsonl").read_text())
    assert row["images"] == 8


def test_registering_the_toybox_imports_nothing_heavy() -> None:
    code = (
        "import sys, vswap_toybox.register; sys.exit(bool({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
