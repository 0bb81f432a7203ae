from vswap_kernel.testing.suite import SwapperConformance


class TestWarp(SwapperConformance):
    component = "warp"
    cases = ("patch", "rotation", "out-of-frame")
