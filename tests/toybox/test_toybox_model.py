"""The shipped model behind the names `toybox`: the whole method runs on it, by no path of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("cv2")

from vswap_kernel.run import run_config
from vswap_kernel.types import Masks, SwapResult, Video
from vswap_toybox.evaluation.suites import suite_clip
from vswap_toybox.writing import write_clip


def test_the_method_swaps_a_colour_on_the_shipped_model(tmp_path: Path) -> None:
    clip = suite_clip("toybox/same-shape", 1, 0, (64, 64))
    config = write_clip(clip, tmp_path / "clip")
    job = yaml.safe_load(config.read_text())
    job["video"]["frames"] = 4
    names = [subject.caption.removeprefix("a ") for subject in (clip.subject, clip.target)]
    job |= {
        "prompt": {"source": f"{clip.subject.caption} {clip.scene.caption}", "replace": {names[0]: names[1]}},
        "embedder": {"name": "dift", "ensemble": 1},
        "backbone": {"name": "toybox"},
        "motion": {"name": "toybox"},
        "concept": {"name": "text"},
        "swapper": {"name": "point-diffusion", "steps": 10, "registration_steps": 4, "guidance": 3.0},
        "metrics": [],
    }
    job["swapper"] |= {"mask_scales": [1, 2], "blend_threshold": 0.7, "composite_feather": 1}
    config.write_text(yaml.safe_dump(job))
    run = run_config(config, out=tmp_path / "run", store=tmp_path / "store")
    stages = {entry["stage"]: entry["key"] for entry in json.loads((run.folder / "plan.json").read_text())}
    stored = {name: tmp_path / "store" / "objects" / stages[name] for name in ("source", "masks", "swap")}
    source, masks = Video.load(stored["source"]).frames, Masks.load(stored["masks"]).frames
    swap = SwapResult.load(stored["swap"])
    outside = (masks == 0) & (swap.subject.frames == 0)
    assert np.array_equal(swap.video.frames[outside], source[outside])
    inside = clip.masks.frames[:4] == 255
    before, after, wanted = (
        frames[inside].astype(float).mean(0) for frames in (source, swap.video.frames, clip.answer.video.frames[:4])
    )
    assert np.linalg.norm(after - wanted) < 0.7 * np.linalg.norm(before - wanted)
