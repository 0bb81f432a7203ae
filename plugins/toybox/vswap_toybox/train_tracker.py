"""`python -m vswap_toybox.train_tracker`: trains the tracker `toytrack`; its model card tells how."""

from __future__ import annotations

from vswap_toybox.tracking.commands import main

if __name__ == "__main__":
    main()
