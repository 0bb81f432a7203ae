"""`none`: no motion module; every frame by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vswap_kernel.api import Context
from vswap_kernel.protocols import Backbone, Window
from vswap_motion.register import NoMotionOptions


class NoMotion:
    """Implements `vswap_kernel.protocols.MotionModule`: nothing ties the frames together, so long clips are cut without
    overlap, only to save memory."""

    def __init__(self, options: NoMotionOptions, context: Context) -> None:
        self.max_frames = options.window

    @contextmanager
    def attach(self, backbone: Backbone, /) -> Iterator[None]:
        before = backbone.window
        backbone.window = Window(self.max_frames, 0)
        try:
            yield
        finally:
            backbone.window = before
