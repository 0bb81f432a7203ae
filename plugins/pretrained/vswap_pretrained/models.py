"""Loads a network of a known kind, and refuses a folder that would leave weights at random.

`from_pretrained` only warns when a folder holds another kind of model, or half of one: it fills in random weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import transformers
from transformers import PretrainedConfig
from transformers.utils import logging

from vswap_kernel.errors import InputError, MissingExtraError
from vswap_pretrained.kinds import Weights, check_kind, refuse_other_kinds


def load_model(weights: Weights, revision: str | None, kinds: Mapping[str, str], field: str) -> Any:
    """The network in memory, float32, frozen.

    Args:
        weights: the model; only safetensors are read.
        revision: branch, tag or commit on the hub.
        kinds: by `model_type`, the class in transformers.
        field: of the run's config, as in "embedder.weights".

    Raises:
        InputError: it isn't there, can't be read, is of another kind, or lacks weights.
        MissingExtraError: the installed transformers doesn't know the class.
    """
    check_kind(weights, kinds, field)
    try:
        with _quiet():
            kind = PretrainedConfig.get_config_dict(str(weights), revision=revision)[0].get("model_type")
            refuse_other_kinds(weights, kind, kinds, field)
            found = _class_of(kinds[str(kind)], field).from_pretrained(
                str(weights), revision=revision, use_safetensors=True, output_loading_info=True
            )
    except (InputError, MissingExtraError):
        raise
    except Exception as error:  # transformers, huggingface_hub and safetensors raise many kinds
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"{field}: {weights} can't be read ({reason}); give a folder that is whole") from None
    model, notes = found
    missing = sorted(map(str, notes["missing_keys"]))
    if missing:
        raise InputError(f"{field}: {weights} lacks {len(missing)} weights, the first {missing[0]}; get it again")
    return model.float().eval().requires_grad_(False)


def _class_of(name: str, field: str) -> Any:
    try:
        return getattr(transformers, name)
    except AttributeError:
        raise MissingExtraError(
            f"{field}: transformers {transformers.__version__} has no {name}; run: pip install -U transformers"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and remarks of the library: the run has its own, and what matters is an error."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
