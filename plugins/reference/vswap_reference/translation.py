"""From an option file of the reference to configs of ours: one for each of its edits.

Its fields, as its published option files use them; its paths count from the folder in which its code is run.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vswap_kernel.errors import InputError
from vswap_kernel.points import PointsFile
from vswap_reference.option_fields import OptionFields
from vswap_track_files.tap_file import TapFile, read_tap

_EDITING = "val.editing_config"
_SAMPLING: dict[str, tuple[str, type]] = {
    "num_inference_steps": ("steps", int),
    "guidance_scale": ("guidance", float),
    "negative_prompt": ("negative_prompt", str),
    "t2i_guidance_scale": ("adapter_strength", float),
    "t2i_start": ("adapter_start", float),
    "t2i_end": ("adapter_end", float),
    "use_blend": ("latent_blend", bool),
}
_BLEND: dict[str, tuple[str, type]] = {
    "blend_th": ("blend_threshold", float),
    "cross_replace_steps": ("cross_replace", float),
    "self_replace_steps": ("self_replace", float),
}
_REGISTRATION: dict[str, tuple[str, type]] = {
    "gradient_checkpointing": ("gradient_checkpointing", bool),
    "train.total_iter": ("registration_steps", int),
    "train.optimizer.lr": ("learning_rate", float),
    "train.optimizer.weight_decay": ("weight_decay", float),
    "train.tune_cfg.drop_rate": ("point_dropout", float),
    "train.tune_cfg.min_timestep": ("lowest_timestep", float),
    "train.tune_cfg.loss_type": ("loss", str),
}
"""Field of theirs: option of the swapper `point-diffusion`, and the kind of its value."""
_AS_OURS: dict[str, Any] = {
    "datasets.type": "SingleVideoPointDataset",
    "datasets.batch_size_per_gpu": 1,
    "models.unet.type": "AnimateDiffUNet3DModel",
    "models.adapter.type": "SparsePointAdapter",
    "train.train_pipeline": "VideoSwapTrainer",
    "train.optimizer.type": "AdamW",
    "train.optimizer.betas": [0.9, 0.999],
    "train.lr_scheduler": "constant",
    "train.warmup_iter": 0,
    "val.val_pipeline": "VideoSwapPipeline",
    f"{_EDITING}.use_invertion_latents": True,
}
"""With these values they ask for what vswap does anyway; any other is reported."""
_WITHOUT_EFFECT = re.compile(
    r"logger\..*|val\.(save_type|val_freq)|val\.editing_config\.visualize_point|datasets\.dataset_enlarge_ratio"
)
"""Logging and the length of their training epochs: nothing in the result depends on them."""
_TRANSFORMS: tuple[Any, ...] = ({"type": "ToTensor"}, {"type": "Normalize", "mean": [0.5], "std": [0.5]})
_PRECISION = {"fp16": "float16", "bf16": "bfloat16", "no": "float32"}


@dataclass
class Translation:
    """name: the option file's own; configs by the name of the edit; points: the points file that all of them name;
    notes: what couldn't be carried over or had to be guessed, one line each, those of single edits under its name."""

    name: str
    points: PointsFile
    configs: dict[str, dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    edit_notes: dict[str, list[str]] = field(default_factory=dict)


def translate(path: Path, root: Path, out: Path, preset: str = "reference") -> Translation:
    """The configs that say what the option file `path` says; their paths are relative to `out`, where they will lie.

    `root` is the folder from which the option file's paths count; `preset` that of the components.

    Raises:
        InputError: not an option file of an edit, or its file of tracks can't be read.
    """
    fields, notes = OptionFields.load(path), list[str]()
    if fields.has("models.FG_UV_Mapping") or fields.has("datasets.annotation_path"):
        raise InputError(
            f"{path}: an option file of the layered atlas, not of an edit; only those of edits are imported"
        )
    paths = _Paths(root, out, notes)
    base = _base(fields, paths, preset)
    tap = _read_edited(paths.find(fields.need("datasets.tap_path", str)), base["video"])
    points = _points(tap, out / "points.json", base["video"].get("size"), notes)
    made = Translation(fields.need("name", str), points, {}, notes)
    for edit, own in fields.parts(f"{_EDITING}.editing_prompts").items():
        about = made.edit_notes.setdefault(edit, [])
        made.configs[edit] = _config(base, own, tap, points, _Paths(root, out, about))
        about += _leftover(own)
    notes += _leftover(fields)
    return made


@dataclass(frozen=True)
class _Paths:
    """Finds the option file's paths, and writes them as a config in `out` has to."""

    root: Path
    out: Path
    notes: list[str]

    def find(self, text: str) -> Path:
        return (self.root / Path(text).expanduser()).resolve()

    def write(self, text: str) -> str:
        path = self.find(text)
        if not path.exists():
            self.notes.append(f"no such file or folder: {path}; put it there, or change the path in the config")
        return os.path.relpath(path, self.out.resolve())


def _base(fields: OptionFields, paths: _Paths, preset: str) -> dict[str, Any]:
    """What all edits of the file share."""
    notes, precision = paths.notes, fields.take("mixed_precision", str, "no")
    if precision not in _PRECISION:
        raise InputError(f"{fields.path}: mixed_precision: expected {', '.join(_PRECISION)}, got {precision!r}")
    swapper = {"name": "point-diffusion", "preset": preset} | _options(fields, "", _REGISTRATION)
    swapper |= _options(fields, f"{_EDITING}.", _SAMPLING)
    adapter = fields.take("path.pretrained_adapter_path", str)
    swapper |= {"adapter": paths.write(adapter)} if adapter else {}
    motion = fields.take("models.unet.motion_module_path", str)
    notes.append("tracker: the tracks of the TAP.pth are made anew, from its points on one frame")
    return {
        "video": {"path": paths.write(fields.need("datasets.path", str))} | _frames(fields, notes),
        "points": {"file": "points.json"},
        "prompt": {"source": fields.need("datasets.prompt", str)},
        "tracker": {"name": "lucas-kanade"},
        "embedder": {"name": "dift", "preset": preset},
        "backbone": {"name": "sd15", "weights": paths.write(fields.need("path.pretrained_model_path", str))},
        "motion": {"name": "animatediff", "weights": paths.write(motion)} if motion else {"name": "none"},
        "swapper": swapper,
        "seed": fields.take("manual_seed", int, 0),
        "device": "cuda",
        "dtype": _PRECISION[precision],
    }


def _options(fields: OptionFields, prefix: str, table: dict[str, tuple[str, type]]) -> dict[str, Any]:
    """The options of the table that the option file gives."""
    found = {option: fields.take(f"{prefix}{name}", kind) for name, (option, kind) in table.items()}
    return {option: value for option, value in found.items() if value is not None}


def _frames(fields: OptionFields, notes: list[str]) -> dict[str, Any]:
    """Which frames are edited and at what size: n of them, every (total // (n - 1))-th, as the reference picks them."""
    count, total = fields.need("datasets.num_frames", int), fields.need("datasets.total_frames", int)
    if count < 1 or total < count:
        raise InputError(f"{fields.path}: datasets: num_frames {count} of total_frames {total}")
    stride = max(1, total // max(1, count - 1))
    frames: dict[str, Any] = {"frames": count, "stride": stride}
    for step in fields.take("datasets.video_transform", list, []) or []:
        kind = step.get("type") if isinstance(step, dict) else None
        size = step.get("size") if kind == "Resize" else None
        if isinstance(size, list) and len(size) == 2 and all(isinstance(length, int) for length in size):
            frames["size"] = size[::-1]
            notes.append("video.size: frames of another shape keep it here; the reference stretches them")
        elif step not in _TRANSFORMS:
            notes.append(f"datasets.video_transform: not carried over: {step!r}")
    return frames


def _read_edited(path: Path, video: dict[str, Any]) -> TapFile:
    """The tracks of `path` in the edited frames: of all frames of the source, or of just those."""
    tap, count, stride = read_tap(path), video["frames"], video["stride"]
    if len(tap.xy) != count:
        tap = replace(tap, xy=tap.xy[::stride][:count])
    if len(tap.xy) < count:
        raise InputError(f"{path}: tracks end before the edited frames: {count} are needed, every {stride}-th")
    if not tap.visible.any():
        raise InputError(f"{path}: no point is visible in any of the edited frames")
    return tap


def _points(tap: TapFile, path: Path, size: list[int] | None, notes: list[str]) -> PointsFile:
    """The points on the frame in which most are visible."""
    frame = int(tap.visible.sum(1).argmax())
    seen = tap.visible[frame]
    names = tuple(name for name, there in zip(tap.names, seen, strict=True) if there)
    hidden = [name for name in tap.names if name not in names]
    if hidden:
        notes.append(f"points: left out, hidden on frame {frame}, where most are seen: {', '.join(hidden)}")
    return PointsFile(path, names, tap.xy[frame, seen], frame, (size[0], size[1]) if size else None)


def _config(base: dict[str, Any], own: OptionFields, tap: TapFile, points: PointsFile, paths: _Paths) -> dict[str, Any]:
    """The config of one edit."""
    old, new = own.replacement("replace")
    paths.notes.append(f"points.subject: guessed from the replaced words: {old.split()[-1]!r}")
    lora = own.take("lora_path", str)
    concept: dict[str, Any] = {"name": "text"}
    if lora:
        weights, _, strength = lora.partition("---")
        concept = {"name": "ed-lora", "weights": paths.write(weights)}
        concept |= {"strength": float(strength)} if strength else {}
    edit = _edit(own, tap, points, base["video"], paths)
    swapper = base["swapper"] | _options(own, "", _SAMPLING) | _options(own, "blend_cfg.", _BLEND)
    config = base | {"swapper": swapper, "concept": concept}
    config["points"] = base["points"] | {"subject": old.split()[-1]}
    config["prompt"] = base["prompt"] | {"replace": {old: new}}
    if own.has("replace_other"):
        config["prompt"]["replace"] |= dict([own.replacement("replace_other")])
    config |= {"edit": edit} if edit else {}
    return config | ({"canonical": {"name": "keyframe"}} if "move" in edit else {})


def _edit(own: OptionFields, tap: TapFile, points: PointsFile, video: dict[str, Any], paths: _Paths) -> dict[str, Any]:
    """Points that the edit drops or moves."""
    chosen = own.take("select_point", list)
    unknown = [str(name) for name in chosen or [] if name not in tap.names]
    if unknown:
        raise InputError(f"{own.path}: select_point: no point {unknown[0]!r}; known: {', '.join(tap.names)}")
    drop = [name for name in points.names if chosen is not None and name not in chosen]
    edit: dict[str, Any] = {"drop": drop} if drop else {}
    other = own.take("tap_path", str)
    if not other:
        return edit
    if not paths.find(other).exists():
        paths.notes.append(f"tap_path: no such file: {paths.find(other)}; the points aren't moved")
        return edit
    moved, places = _read_edited(paths.find(other), video), {}
    there = dict(zip(moved.names, moved.xy[points.frame], strict=True))
    for name, before in zip(points.names, points.xy, strict=True):
        place = there.get(name, before)
        if (place >= 0).all() and abs(place - before).max() > 0.5 and name not in drop:
            places[name] = [round(float(x), 2) for x in place]
    if places:
        edit |= {"move": places, "frame": points.frame}
        paths.notes.append("tap_path: its points are moved as on the keyframe in every frame (canonical keyframe)")
    return edit


def _leftover(fields: OptionFields) -> list[str]:
    """A line for each field that nobody read, but for those that ask for what vswap does anyway."""
    lines: list[str] = []
    for name, value in fields.unread().items():
        as_ours = name in _AS_OURS and _AS_OURS[name] == value
        if not as_ours and not _WITHOUT_EFFECT.fullmatch(name):
            lines.append(f"not carried over: {name}: {value!r}")
    return lines
