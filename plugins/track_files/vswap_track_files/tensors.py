"""Files that `torch.save` wrote, read without running what they may hold."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from vswap_kernel.errors import InputError


def load_tensors(path: Path) -> Any:
    """What `torch.save` wrote: tensors, numbers, text and containers of them. No code that the file may hold is run.

    Raises:
        InputError: no such file, or not a file of tensors.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols; what can't be read raises
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except pickle.UnpicklingError:
        raise InputError(f"{path}: holds code besides tensors, refused; make it again with plain tensors") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InputError(f"{path}: can't be read as a file of tensors ({type(error).__name__})") from None
