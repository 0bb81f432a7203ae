from vswap_kernel.testing.suite import CanonicalConformance


class TestKeyframe(CanonicalConformance):
    component = "keyframe"
