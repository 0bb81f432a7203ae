from vswap_kernel.testing.suite import CanonicalConformance


class TestKeyframe(CanonicalConformance):
    component = "keyframe"


class TestSimilarity(CanonicalConformance):
    component = "similarity"


class TestSimilarityNeverMirrored(CanonicalConformance):
    component = "similarity"
    options = {"mirror": "never"}


class TestSimilaritySmoothed(CanonicalConformance):
    component = "similarity"
    options = {"smooth": 2}


class TestHomography(CanonicalConformance):
    component = "homography"


class TestThinPlate(CanonicalConformance):
    component = "thin-plate"


class TestThinPlateThroughEachPoint(CanonicalConformance):
    component = "thin-plate"
    options = {"stiffness": 0, "smooth": 0}


class TestFlow(CanonicalConformance):
    component = "flow"


class TestFlowOfThePlace(CanonicalConformance):
    component = "flow"
    options = {"carry": "place", "radius": 0.5}


class TestDeformationField(CanonicalConformance):
    component = "deformation-field"
    options = {"steps": 10, "layers": 4}


class TestLayeredAtlas(CanonicalConformance):
    component = "layered-atlas"
    options = {"iterations": 5, "registrations": 1}
