"""`python -m vswap_kernel.cli` is `vswap`."""

from vswap_kernel.cli import main

main()
