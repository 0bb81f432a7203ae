"""What `cotracker` looks at before torch is loaded: whether the package is there, and its licence."""

from __future__ import annotations

import logging
from functools import cache
from importlib.util import find_spec

from vswap_kernel.api import Facts
from vswap_kernel.errors import InputError, MissingExtraError
from vswap_trackers.options_models import CoTrackerOptions


def preflight(options: CoTrackerOptions, facts: Facts) -> None:
    """Look whether the package is there; raises as `require_package`."""
    require_package(options)


def require_package(options: CoTrackerOptions) -> None:
    """Refuse to go on without the package or a checkout of its repository.

    Raises:
        MissingExtraError: it is not.
        InputError: the repository is none of CoTracker's.
    """
    if options.repository is None and find_spec("cotracker") is None:
        raise MissingExtraError(
            "tracker cotracker: the package cotracker isn't installed and isn't on PyPI; run: pip install "
            "git+https://github.com/facebookresearch/co-tracker, or name a checkout in the option repository"
        )
    if options.repository is not None and not (options.repository / "hubconf.py").is_file():
        raise InputError(f"{options.repository}: no hubconf.py there; give a checkout of facebookresearch/co-tracker")


@cache
def tell_licence() -> None:
    """Log a warning, once a process: the CLI shows it."""
    logging.getLogger(__name__).warning(
        "tracker cotracker: CoTracker's code and weights are under CC-BY-NC 4.0: no commercial use"
    )
