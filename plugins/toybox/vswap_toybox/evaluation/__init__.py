"""`vswap eval swap`: methods judged on clips whose exact answer the renderer knows."""
