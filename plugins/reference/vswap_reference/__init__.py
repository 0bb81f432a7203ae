"""The files of VideoSwap's own code, read and written at the border."""
