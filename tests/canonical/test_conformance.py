from vswap_kernel.testing.suite import CanonicalConformance


class TestKeyframe(CanonicalConformance):
    component = "keyframe"


class TestSimilarity(CanonicalConformance):
    component = "similarity"


class TestSimilarityNeverMirrored(CanonicalConformance):
    component = "similarity"
    options = {"mirror": "never"}
