"""Networks in the folders that transformers writes, given by path or by their name on the hub; what families share."""
