"""The stages of training, and what each needs of those before it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, MotionAdapter, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from vswap_kernel.encode import write_png
from vswap_toybox.training import models
from vswap_toybox.training.data import Counts, read, render_all
from vswap_toybox.training.denoiser import DenoiserTask
from vswap_toybox.training.export import export
from vswap_toybox.training.judge import JudgeTask, judge_clips, judge_samples, some_captions
from vswap_toybox.training.latents import encode_all
from vswap_toybox.training.loop import Loop, Schedule
from vswap_toybox.training.models import Sizes
from vswap_toybox.training.motion import MotionTask
from vswap_toybox.training.noise import STEPS
from vswap_toybox.training.ranks import Ranks
from vswap_toybox.training.sheets import sheet, spread_frames
from vswap_toybox.training.vae import AutoencoderTask, unit_variance

_PICTURES, _CLIPS = ("pictures-held", "pictures-train"), ("clips-held", "clips-train")
_JUDGED_CLIPS = 32


@dataclass(frozen=True)
class Plan:
    """Attributes:
    work: folder of pools, checkpoints and logs.
    sizes: of the model.
    ranks: the processes.
    seed: of every choice.
    start: folder of an export to go on from, or None.
    out: where the export goes, WORK/export when None.
    tiny: whether pools are tiny too, and samples poor.
    """

    work: Path
    sizes: Sizes
    ranks: Ranks
    seed: int = 0
    start: Path | None = None
    out: Path | None = None
    tiny: bool = False

    @property
    def data(self) -> Path:
        """Where pools are."""
        return self.work / "data"

    @property
    def steps(self) -> int:
        """Of a sample."""
        return 2 if self.tiny else STEPS


@dataclass(frozen=True)
class Stage:
    """What runs it, and its usual schedule."""

    run: Callable[[Plan, Schedule], None]
    schedule: Schedule


def render_pools(plan: Plan, schedule: Schedule) -> None:
    """Stage `data`: data/*.safetensors."""
    if plan.ranks.first:
        render_all(plan.data, plan.sizes, Counts(24, 4, 32, 8) if plan.tiny else Counts(), plan.seed)
    plan.ranks.wait()


def train_vae(plan: Plan, schedule: Schedule) -> None:
    """Stage `vae`: vae/model."""
    torch.manual_seed(plan.seed)
    start = None if plan.start is None else loaded(AutoencoderKL, plan.start / "model" / "vae")
    task = AutoencoderTask(plan.data, plan.sizes, plan.ranks.device, start)
    vae: Any = Loop(task, schedule, plan.work / "vae", plan.ranks).run()
    if plan.ranks.first:
        unit_variance(vae, read(plan.data, "pictures-held"), plan.ranks.device)
        vae.save_pretrained(plan.work / "vae" / "model")
    plan.ranks.wait()


def make_text(plan: Plan, schedule: Schedule) -> None:
    """Stage `text`: text/tokenizer; the encoder is trained in stage `unet`."""
    if plan.ranks.first:
        models.write_tokenizer(plan.work / "text" / "tokenizer")
    plan.ranks.wait()


def encode_pools(plan: Plan, schedule: Schedule) -> None:
    """Stage `latents`: data/latents-VAE/*.safetensors; later stages would do it themselves."""
    encode_all(plan.data, (*_PICTURES, *_CLIPS), frozen_vae(plan), plan.ranks)


def train_unet(plan: Plan, schedule: Schedule) -> None:
    """Stage `unet`: unet/unet and unet/text_encoder."""
    task = image_task(plan, fresh=plan.start is None)
    mean: Any = Loop(task, schedule, plan.work / "unet", plan.ranks).run()
    if plan.ranks.first:
        mean["unet"].save_pretrained(plan.work / "unet" / "unet")
        mean["text"].save_pretrained(plan.work / "unet" / "text_encoder")
    plan.ranks.wait()


def image_task(plan: Plan, *, fresh: bool) -> DenoiserTask:
    """The task of stage `unet`, its model untrained when `fresh` is set."""
    vae, tokenizer = frozen_vae(plan), read_tokenizer(plan)
    latents = encode_all(plan.data, _PICTURES, vae, plan.ranks)
    torch.manual_seed(plan.seed)
    if fresh:
        unet, text = models.make_unet(plan.sizes), models.make_text_encoder(plan.sizes, tokenizer)
    else:
        unet, text = image_model(plan)
    return DenoiserTask(plan.data, latents, tokenizer, unet, text, vae, plan.ranks.device, steps=plan.steps)


def train_motion(plan: Plan, schedule: Schedule) -> None:
    """Stage `motion`: motion/motion."""
    start = plan.work / "motion" / "start" if plan.start is None else plan.start / "motion"
    if plan.start is None and plan.ranks.first:
        torch.manual_seed(plan.seed)
        models.make_motion(plan.sizes).save_pretrained(start)
    plan.ranks.wait()
    mean: Any = Loop(motion_task(plan, start), schedule, plan.work / "motion", plan.ranks).run()
    if plan.ranks.first:
        mean.save_pretrained(plan.work / "motion" / "motion")
    plan.ranks.wait()


def motion_task(plan: Plan, adapter: Path) -> MotionTask:
    """The task of stage `motion`, its adapter that of a diffusers folder. All ranks have to call it."""
    vae, tokenizer = frozen_vae(plan), read_tokenizer(plan)
    latents = encode_all(plan.data, _CLIPS, vae, plan.ranks)
    parts = (tokenizer, *image_model(plan), vae)
    return MotionTask(plan.data, latents, adapter, *parts, plan.ranks.device, steps=plan.steps)


def judge_model(plan: Plan, schedule: Schedule) -> None:
    """Stage `judge`: judge/scores.json; of clips too, and a sheet of some of them, where there is a motion adapter."""
    judge = Loop(JudgeTask(plan.data, plan.ranks.device), schedule, plan.work / "judge", plan.ranks).run()
    task, adapter = image_task(plan, fresh=False), newest(plan, "motion", "motion", "motion")
    moving = motion_task(plan, adapter) if adapter.is_dir() else None
    if plan.ranks.first:
        pool = read(plan.data, "pictures-held")
        scores = judge_samples(judge, task, task.model.eval(), pool, plan.ranks.device)
        if moving is not None:
            captions = some_captions(pool, 4 if plan.tiny else _JUDGED_CLIPS)
            of_clips, clips = judge_clips(judge, moving, captions, plan.ranks.device)
            scores |= of_clips
            _show_clips(plan.work / "judge" / "samples", clips[:8], captions[:8])
        (plan.work / "judge" / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
        print(scores)
    plan.ranks.wait()


def _show_clips(folder: Path, clips: Tensor, captions: list[str]) -> None:
    """Write clips.png, a row a clip, and the rows' captions to clips.json."""
    folder.mkdir(parents=True, exist_ok=True)
    write_png(folder / "clips.png", sheet(list(spread_frames(clips, 8))))
    (folder / "clips.json").write_text(json.dumps(captions, indent=2) + "\n")


def export_all(plan: Plan, schedule: Schedule) -> None:
    """Stage `export`: model/ and motion/ in `plan.out`."""
    if plan.ranks.first:
        unet, text = image_model(plan)
        parts = {"unet": unet, "text_encoder": text, "vae": frozen_vae(plan)}
        tokenizer = newest(plan, "text", "tokenizer", "model/tokenizer")
        folder = newest(plan, "motion", "motion", "motion")
        motion = loaded(MotionAdapter, folder) if folder.is_dir() else None
        logs = {stage: plan.work / stage for stage in ("vae", "unet", "motion", "judge")}
        out = plan.out or plan.work / "export"
        size = export(parts, tokenizer, motion, logs, out)
        print(f"{out}: {size / 1e6:.1f} MB")
    plan.ranks.wait()


def newest(plan: Plan, stage: str, part: str, exported: str) -> Path:
    """Where a part is: as its stage has left it, else as the export has it that training started from."""
    own = plan.work / stage / part
    return own if plan.start is None or own.is_dir() else plan.start / exported


def frozen_vae(plan: Plan) -> Any:
    """The VAE that later stages see."""
    vae = loaded(AutoencoderKL, newest(plan, "vae", "model", "model/vae"))
    return vae.to(plan.ranks.device).eval().requires_grad_(False)


def image_model(plan: Plan) -> tuple[Any, Any]:
    """U-Net and text encoder as stage `unet` has left them."""
    unet = loaded(UNet2DConditionModel, newest(plan, "unet", "unet", "model/unet"))
    text = loaded(CLIPTextModel, newest(plan, "unet", "text_encoder", "model/text_encoder"))
    return models.with_plain_attention(unet), text


def read_tokenizer(plan: Plan) -> Any:
    """What stage `text` made."""
    return CLIPTokenizer.from_pretrained(str(newest(plan, "text", "tokenizer", "model/tokenizer")))


def loaded(kind: Any, folder: Path) -> Any:
    """A part in float32, whatever it was saved in."""
    return kind.from_pretrained(str(folder), torch_dtype=torch.float32).float()


STAGES: dict[str, Stage] = {
    "data": Stage(render_pools, Schedule()),
    "vae": Stage(train_vae, Schedule(minutes=20, batch=8, rate=2e-3, decay=0.995)),
    "latents": Stage(encode_pools, Schedule()),
    "text": Stage(make_text, Schedule()),
    "unet": Stage(train_unet, Schedule(minutes=60, batch=8, rate=1e-3)),
    "motion": Stage(train_motion, Schedule(minutes=20, batch=1, rate=1e-3, decay=0.995)),
    "judge": Stage(judge_model, Schedule(minutes=3, batch=32, rate=2e-3, decay=0.99)),
    "export": Stage(export_all, Schedule()),
}
