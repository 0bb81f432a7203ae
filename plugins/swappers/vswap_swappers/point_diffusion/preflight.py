"""Refuses a swap that can't work, before anything is loaded or computed."""

from __future__ import annotations

from vswap_kernel.api import Facts
from vswap_kernel.errors import InputError
from vswap_swappers.point_diffusion.options import PointDiffusionOptions


def preflight(options: PointDiffusionOptions, facts: Facts) -> None:
    """Check the prompts and a given adapter against the job.

    Raises:
        InputError: no words to replace, an adapter registered for other points or another U-Net, a damaged adapter, or
            one whose pickle holds code.
    """
    if not facts.prompt.words[0]:
        raise InputError(
            "swapper 'point-diffusion' needs a source prompt and the subject's words in it: add "
            '"prompt: {source: a silver jeep on a road, replace: {silver jeep: a red truck}}"'
        )
    if not facts.prompt.words[1].strip():
        raise InputError(f"prompt.replace: nothing stands in place of {facts.prompt.words[0]!r}; name the new subject")
    if options.adapter is not None:
        from vswap_swappers.point_diffusion.adapter_file import read_adapter

        adapter = read_adapter(options.adapter)
        widths = facts.described.get("backbone", {}).get("widths", adapter.block_channels)
        try:
            adapter.require(
                embedding_channels=adapter.embedding_channels, block_channels=widths, points=facts.point_names
            )
        except InputError as error:
            raise InputError(f"{options.adapter}: {error}") from None
