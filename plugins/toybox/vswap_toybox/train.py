"""`python -m vswap_toybox.train`: trains the Toybox model, see docs/toybox-model.md."""

from __future__ import annotations

from vswap_toybox.training.commands import main

if __name__ == "__main__":
    main()
