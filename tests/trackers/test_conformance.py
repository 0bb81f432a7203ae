from vswap_kernel.testing.suite import TrackerConformance

LIMBS = "a thin moving part is lost to the ground that it passes"
OCCLUDER = "some points go along with the post that passes in front of them"
BORDER = "some points stay visible at the border, or come back at the wrong place"


class TestLucasKanade(TrackerConformance):
    component = "lucas-kanade"
    expected_failures = {
        "check_tracker_accuracy[mid-video-query]": LIMBS,
        "check_tracker_any_keyframe[mid-video-query]": LIMBS,
        "check_tracker_hidden[occlusion]": OCCLUDER,
        "check_tracker_hidden[out-of-frame]": BORDER,
    }
