from vswap_kernel.api import ComponentSpec, hookimpl

RADIUS, REACH, CHANGE = 4, 5, 20  # px: half a patch, the farthest step; grey levels: a point is seen below this change


@hookimpl
def vswap_trackers():
    yield ComponentSpec("example-template", "vswap_example_tracker:Template", summary="finds each point's patch again")


class Template:
    def __init__(self, options, context): ...
    def track(self, video, queries, /):
        import numpy as np  # here, so that registering the plugin stays cheap

        from vswap_kernel.types import PointTracks

        xy, limit, frames = np.repeat(queries.xy[None], len(video), 0), np.array(video.size) - 1, range(len(video))
        visible = queries.frame == np.arange(len(video))[:, None]
        steps = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1].reshape(2, -1).T
        template = np.zeros((len(queries.names), 2 * RADIUS + 1, 2 * RADIUS + 1), np.float32)
        for frame, way in [(frame, 1) for frame in frames] + [(frame, -1) for frame in reversed(frames)]:
            grey = np.pad(video.frames[frame].mean(-1, dtype=np.float32), RADIUS, "edge")
            patches = np.lib.stride_tricks.sliding_window_view(grey, template.shape[1:])  # [y, x]: about (x, y)
            moving, here = (frame - queries.frame) * way > 0, frame == queries.frame
            places = xy[frame - way, moving][:, None] + steps if moving.any() else np.zeros((0, len(steps), 2))
            (x, y), (x0, y0) = (np.clip(np.rint(p), 0, limit).astype(int).T for p in (places, xy[frame, here]))
            change = abs(patches[y.T, x.T] - template[moving, None]).mean((-1, -2)) + 0.3 * np.hypot(*steps.T)
            xy[frame, moving] = best = places[np.arange(len(places)), change.argmin(1)]
            visible[frame, moving] = (change.min(1) < CHANGE) & (best >= 0).all(1) & (best <= limit).all(1)
            template[here] = patches[y0, x0]
            video.release()  # of a long video on disk only what is read stays in memory
        return PointTracks(queries.names, xy, visible, visible.astype(np.float32), video.size)
