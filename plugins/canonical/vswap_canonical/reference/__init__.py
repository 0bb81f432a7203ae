"""The reference's layered atlas: its networks, its training and its propagation, as its recordings have them."""
