"""Processes that work for an evaluation."""

from __future__ import annotations

import os
from multiprocessing import parent_process
from threading import Thread


def end_with_parent() -> None:
    """End this process, one of `multiprocessing`, when its parent ends, even if that is killed: otherwise it would work
    on through what it was given."""
    parent = parent_process()
    assert parent is not None, "only a process that another one started has a parent to end with"

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
