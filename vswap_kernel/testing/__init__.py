"""The conformance kit: does a component keep its family's contract? docs/conformance.md lists the checks."""

from vswap_kernel.testing.case import Case
from vswap_kernel.testing.running import CheckOutcome, run_checks

__all__ = ["Case", "CheckOutcome", "run_checks"]
