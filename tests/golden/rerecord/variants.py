"""The settings of each variant: `config` goes to config.json, the rest is how the models and edits are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Variant:
    """One set's settings; see the README of the recordings for the keys of `config`."""

    config: dict[str, Any]
    norm_groups: int
    text_width: int
    text_heads: int
    text_layers: int
    vae_layers: int
    ensemble: int
    train_steps: int
    train_noises: int
    subset: tuple[int, ...]
    atlas: dict[str, dict[str, Any]]
    """By network of the layered atlas, what its notes say of it besides its inputs and outputs."""
    loose: dict[str, Any] = field(default_factory=dict)
    """What differs from edit to edit."""


def _network(layers: int, hidden: int, frequencies: int = 0, *skips: int) -> dict[str, Any]:
    encoding = {"pe_type": "encoding" if frequencies else "none", "pe_dim": frequencies or 4}
    return {"hidden_dim": hidden, **encoding, "mlp_layers": layers, "skip_layers": list(skips)}


PORTRAIT = Variant(
    config={
        "seed": 77,
        "H": 192,
        "W": 128,
        "F": 5,
        "blocks": [64, 64, 96, 96],
        "heads": 4,
        "vae_blocks": [16, 16, 32, 32],
        "mid_dim": 24,
        "prompt": "a swan swimming in a pond with green reeds behind it",
        "swap": "swan -> large white duck",
        "swap_lora": "swan -> <wA> <wasservogelB> <C>",
        "swap_long": "swan -> very large white duck",
        "concepts": ["<wA>", "<wasservogelB>", "<C>"],
        "lora_name": "edlora_vogel.pth",
        "rank": 2,
        "alpha": 0.55,
        "category": "swan",
        "steps": 7,
        "guidance": 4.0,
        "t2i_start": 0.15,
        "t2i_end": 0.6,
        "scales": [0.9, 0.6],
        "neg": "low quality, bad eyes",
        "points": ["Schnabel", "左の翼", "tail", "nuque é"],
        "select": ["tail", "Schnabel"],
        "keyframe": 4,
        "big": [320, 256, 2],
        "thr128": 96,
        "cross": 0.6,
        "selfr": 0.3,
        "t_dift": 201,
        "drop_rate": 0.35,
        "min_timestep": 0.3,
    },
    norm_groups=8,
    text_width=48,
    text_heads=4,
    text_layers=3,
    vae_layers=2,
    ensemble=5,
    train_steps=10,
    train_noises=5,
    subset=(2, 0),
    atlas={
        "FG_UV_Mapping": _network(4, 24, 2),
        "FG_UV_Mapping_Inverse": _network(5, 24),
        "BG_UV_Mapping": _network(3, 16),
        "F_Atlas": _network(5, 20, 6, 3),
        "F_Alpha": _network(6, 28, 3),
    },
    loose={"other": "green reeds -> concrete wall", "negative": "worst", "guidance": 2.5},
)

ODD = Variant(
    config={
        "seed": 4321,
        "H": 64,
        "W": 192,
        "F": 9,
        "blocks": [32, 64, 64, 96],
        "heads": 2,
        "vae_blocks": [8, 8, 16, 16],
        "mid_dim": 48,
        "prompt": "photo of a very fluffy cat behind a wall, in the green countryside",
        "swap": "very fluffy cat -> zebra",
        "swap_lora": "very fluffy cat -> <katze-7>",
        "swap_long": "very fluffy cat -> small red truck",
        "concepts": ["<katze-7>"],
        "lora_name": "edlora_katze.pth",
        "rank": 6,
        "alpha": 0.9,
        "category": "cat",
        "steps": 12,
        "guidance": 11.0,
        "t2i_start": 0.0,
        "t2i_end": 0.75,
        "scales": [1.0, 1.3],
        "neg": "worst quality, low quality, distorted text, watermark, very bad eyes",
        "points": ["Nase", "ear L", "ear R", "paw 1", "paw 2", "paw 3", "paw 4", "Schwanz", "nie zu sehen"],
        "select": ["Schwanz", "Nase", "paw 3", "ear L"],
        "keyframe": 0,
        "big": [256, 320, 2],
        "thr128": 40,
        "cross": 0.4,
        "selfr": 0.5,
        "t_dift": 301,
        "drop_rate": 0.1,
        "min_timestep": 0.6,
    },
    norm_groups=16,
    text_width=40,
    text_heads=2,
    text_layers=2,
    vae_layers=1,
    ensemble=3,
    train_steps=6,
    train_noises=4,
    subset=(7, 0, 5, 1),
    atlas={
        "FG_UV_Mapping": _network(5, 40, 1, 2),
        "FG_UV_Mapping_Inverse": _network(4, 32, 2),
        "BG_UV_Mapping": _network(2, 24, 3),
        "F_Atlas": _network(7, 48, 8, 2, 5),
        "F_Alpha": _network(4, 32, 2, 1),
    },
    loose={"other": "green countryside -> pond", "negative": "", "guidance": 1.5},
)

VARIANTS = {"portrait": PORTRAIT, "odd": ODD}
