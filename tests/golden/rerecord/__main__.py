"""`python -m tests.golden.rerecord FOLDER --variant portrait` in the repository's root writes a set of recordings; with
`--check` in place of a variant it compares the naive figures with the set in FOLDER."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from .check import check
from .models import write_json, write_models
from .record_atlas import record_atlas
from .record_dift import record_dift
from .record_edits import Group
from .record_forward import record_adapter, record_prompts, record_unet
from .record_training import record_training
from .scene import write_frames, write_points
from .session import Session
from .variants import VARIANTS, Variant

OPEN_SET = Path(__file__).parents[4] / "shared" / "golden" / "open"


def edits_of(variant: Variant) -> dict[str, dict[str, dict[str, Any]]]:
    """The edits of each group."""
    config, loose = variant.config, variant.loose
    points, (strong, weak) = config["select"], config["scales"]
    plain = {"replace": config["swap"], "lora_path": None, "tap_path": None, "select_point": points}
    lora_path = f"{config['lora_name']}---{config['alpha']}"
    lora = plain | {"replace": config["swap_lora"], "lora_path": lora_path}
    full, part = {"t2i_guidance_scale": strong}, {"t2i_guidance_scale": weak}
    inject = {"blend_cfg": {"cross_replace_steps": config["cross"], "self_replace_steps": config["selfr"]}}
    everything = {"select_point": None}
    other = {"guidance_scale": loose["guidance"], "negative_prompt": loose["negative"], "tap_path": "TAP_alt.pth"}
    return {
        "noblend": {
            "plain_sel": plain | part | {"replace_other": loose["other"]},
            "lora_tap": lora | full | everything | other,
        },
        f"blend{config['thr128']}": {
            "plain_sel": plain | full | {"blend_cfg": {}},
            "lora": lora | part | everything | {"blend_cfg": {}},
            "lora_replace": lora | full | inject,
        },
        f"blend{config['thr128']}long": {
            "plain_replace_long": plain | full | {"replace": config["swap_long"]} | inject,
        },
        "big": {"plain_replace": plain | full | inject},
    }


def record(out: Path, variant: Variant) -> None:
    """Write the set."""
    config, edits = variant.config, edits_of(variant)
    write_json(out / "config.json", config)
    write_models(out, variant, OPEN_SET)
    height, width, count = config["big"]
    write_frames(out / "frames", config["H"], config["W"], config["F"], config["seed"])
    write_frames(out / "frames_big", height, width, count, config["seed"] + 1)
    write_points(out, variant)
    session, start = Session(out, variant), time.monotonic()

    def note(what: str) -> None:
        print(f"{time.monotonic() - start:6.1f} s  {what}", flush=True)

    states = record_adapter(session)
    embeds = record_prompts(session)
    record_unet(session, states, embeds)
    note("adapter, prompts, U-Net")
    record_dift(session)
    note("features")
    record_training(session)
    note("training")
    record_atlas(session)
    note("atlas")
    small = session.random(50).normal(config["F"], 4, *session.cells)
    large = session.random(51).normal(count, 4, height // 8, width // 8)
    for name, swaps in edits.items():
        big = name == "big"
        least = 1024 if big or name == "noblend" else config["thr128"]
        where: dict[str, Any] = {"folder": "frames_big", "tap": "TAP_big.pth"} if big else {}
        group = Group(session, name, swaps, least=least, blended=name != "noblend", **where)
        group.record(large if big else small, full=name == "noblend")
        note(name)


def main() -> None:
    parser = argparse.ArgumentParser(prog="rerecord", description=__doc__)
    parser.add_argument("folder", type=Path, help="where to write; it mustn't be there yet")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--variant", choices=sorted(VARIANTS), help="the settings to write a set with")
    choice.add_argument("--check", action="store_true", help="write nothing: compare with the set that is there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.check:
        check(arguments.folder)
        return
    arguments.folder.mkdir(parents=True)
    record(arguments.folder, VARIANTS[arguments.variant])


if __name__ == "__main__":
    main()
