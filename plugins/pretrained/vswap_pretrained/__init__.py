"""Networks in ONNX files, and in the folders that transformers writes (by path or by name on the hub); what families
share."""
