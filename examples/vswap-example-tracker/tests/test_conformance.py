from vswap_kernel.testing.suite import TrackerConformance

LIMBS = "a patch on a thin moving part holds more background than part"
BORDER = "lost at the border, it settles on the background"


class TestTemplate(TrackerConformance):
    component = "example-template"
    expected_failures = {
        "check_tracker_accuracy[camera-pan]": "patches are never renewed, the camera draws nearer",
        "check_tracker_accuracy[mid-video-query]": LIMBS,
        "check_tracker_any_keyframe[mid-video-query]": LIMBS,
        "check_tracker_accuracy[shape-change]": LIMBS,
        "check_tracker_accuracy[occlusion]": "after an occlusion it isn't looked for further than 5 px away",
        "check_tracker_accuracy[out-of-frame]": BORDER,
        "check_tracker_any_keyframe[out-of-frame]": BORDER,
    }
