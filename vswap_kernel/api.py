"""Everything a plugin imports to register itself. Light on purpose: no NumPy, no torch.

>>> from vswap_kernel.api import ComponentSpec, Options, hookimpl
>>> class Options_(Options):
...     radius: int = 3
>>> @hookimpl
... def vswap_trackers():
...     yield ComponentSpec("my-tracker", "my_package.tracker:MyTracker", Options_, "one line about it")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import pluggy
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo
from pydantic.config import JsonDict

if TYPE_CHECKING:
    from vswap_kernel.types import Video

API_VERSION = 1
PROJECT = "vswap"
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function as an implementation of the hook of the same name (see `vswap_kernel.hooks`)."""


class Options(BaseModel):
    """Base of a component's options: unknown names are errors, values can't be changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


SWAP_ONLY: JsonDict = {"stage": "swap"}
"""``Field(..., json_schema_extra=SWAP_ONLY)``: a swapper's option that `prepare` doesn't read, so that another value of
it reuses what was prepared."""


class NoOptions(Options):
    """For components that have none."""


def _resolve(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("folder")
    resolved = path.expanduser() if base is None else Path(base) / path.expanduser()
    if not resolved.exists():
        raise ValueError(f"no such file or folder: {resolved}")
    return resolved.resolve()


InputPath = Annotated[Path, AfterValidator(_resolve)]
"""An option that names a file or folder to read. Relative to the config's folder; must exist; its *content* (not its
name) counts in the key of the stage."""


@dataclass(frozen=True)
class ComponentSpec:
    """One selectable component: what a plugin's hook yields. It costs nothing until it is used.

    Attributes:
        name: what a config writes, lower case with dashes.
        factory: "package.module:Class"; imported on first use and called with (options, context).
        options: the pydantic model of its options.
        summary: one line for `vswap plugins list`.
        requires: import names that must be installed; tested with `find_spec`, never imported.
        install: the command that installs them, as in "pip install 'vswap[opencv]'".
        accepts: for other families, the capabilities that fit: {"concept": ("cutout",)} means that the concept in the
            config must have at least one of them; with none named, any component of that family will do. Checked while
            planning.
        capabilities: what others may ask for in `accepts`.
        preflight: "package.module:function" called as (options, facts) while planning, before anything runs; raises
            InputError when the input can't work. See `Facts`.
        describe: "package.module:function" called as (options) while planning; what it returns (a mapping, from a
            file's header or a model's configuration) is put into the `Facts` of the others' preflights.
        api: the `API_VERSION` it was written for.
        revision: raise it by one when the component's numbers change: results stored under the old one aren't reused.
        seeded: it makes random choices. Only then is it given the run's seed, and does the seed count in its key.
        prepare_reads: of a swapper, what `prepare` reads besides the video: any of "tracks", "masks", "embeddings",
            "prompt", "backbone", "motion"; None is all of them. The less it reads, the more often it is reused.
        licence: shown by `vswap plugins info` when it restricts use.
    """

    name: str
    factory: str
    options: type[Options] = NoOptions
    summary: str = ""
    requires: tuple[str, ...] = ()
    install: str = ""
    accepts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    preflight: str = ""
    describe: str = ""
    api: int = 1
    revision: int = 1
    seeded: bool = False
    prepare_reads: tuple[str, ...] | None = None
    licence: str = ""


class SwapPrompt(NamedTuple):
    """What the source shows, what the result is to show, and the words for the old and for the new subject in them."""

    source: str = ""
    target: str = ""
    words: tuple[str, str] = ("", "")


NO_PROMPT = SwapPrompt()


@dataclass(frozen=True)
class Facts:
    """What is known of a job before anything is computed.

    Attributes:
        frames: number of frames of the edited range.
        size: (width, height) at which they are processed.
        point_names: the named points, in order.
        first, step, source_frames: frame i of the range is frame first + i * step of a source of that many.
        described: by family, what the chosen component's `describe` tells, as in {"backbone": {"text_width": 768}}.
        prompt: source prompt, target prompt, and the subjects' words.
    """

    frames: int
    size: tuple[int, int]
    point_names: tuple[str, ...]
    first: int = 0
    step: int = 1
    source_frames: int | None = None
    described: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    prompt: SwapPrompt = NO_PROMPT

    def __len__(self) -> int:
        return self.frames


def silent(done: int, total: int, note: str = "") -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Context:
    """What a component is given besides its options.

    Attributes:
        scratch: a folder of its own for temporary files. It outlives a killed run, so long work may keep checkpoints
            there; it is removed once the stage's result is stored.
        device: "cpu", "cuda", "cuda:1", ...
        dtype: "float32", "bfloat16" or "float16".
        seed: seeds every random choice.
        progress: progress(done, total, note) moves the bar; call it as often as you like.
        components: by family, the made "backbone", "motion", "concept" or "embedder" of the config, where the spec's
            `accepts` names it. They are made once a run and shared: leave them as they were. A swapper finds them in
            its job.
        keep: the kernel's own side of `part`.
    """

    scratch: Path
    device: str = "cpu"
    dtype: str = "float32"
    seed: int = 0
    progress: Callable[..., None] = silent
    components: Mapping[str, Any] = field(default_factory=dict)
    keep: Callable[..., Path] | None = None

    def part(
        self, name: str, reads: Sequence[str], options: Mapping[str, Any], make: Callable[[Path, Path], None], /
    ) -> Path:
        """The folder of a part of this stage's work that depends on less than all of it, so that it is kept by itself
        and other stages that need the same find it there (a DDIM inversion, whatever the points are).

        Args:
            name: what it is, as in "inversion".
            reads: what of the stage's inputs and models it depends on: "source", "tracks", "backbone", "prompt", ...
            options: JSON values of all else that it depends on.
            make: make(scratch, out) writes it into the folder `out`; `scratch` outlives a killed run, as the stage's.
        """
        if self.keep is not None:
            return self.keep(name, reads, options, make)
        folder = Path(mkdtemp(prefix=name, dir=self.scratch))
        make(self.scratch, folder)
        return folder


@dataclass(frozen=True)
class StageEvent:
    """What happened in a run: kind is "start", "progress", "hit", "done", "fail" or "warning"."""

    kind: str
    stage: str
    message: str = ""
    done: int = 0
    total: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class FinishedRun:
    """What a report writer is given when a run has ended well.

    Attributes:
        folder: the run folder: config.yaml, plan.json, metrics.json, result video.
        title: the config's name.
        source: the source frames, result: the swapped ones; equal in shape.
        artefacts: what each stage made, by stage name ("tracks", "masks", "swap", "metric:NAME", ...).
        video: the encoded result.
    """

    folder: Path
    title: str
    source: Video
    result: Video
    artefacts: Mapping[str, Any]
    video: Path


@dataclass(frozen=True)
class CaseSpec:
    """An exact case for the conformance kit: `factory` is "package.module:function", which takes nothing and returns a
    `vswap_kernel.testing.Case`."""

    name: str
    factory: str
