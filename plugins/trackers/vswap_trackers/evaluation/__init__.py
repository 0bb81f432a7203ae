"""`vswap eval trackers`: how far trackers are from the truth, how fast they are, and what memory they take."""
