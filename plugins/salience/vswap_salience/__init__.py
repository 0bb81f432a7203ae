"""Salient-object networks in ONNX, shared by masks and concepts: a library, not a family, so it registers nothing."""
