"""The layered atlas: two pictures, one of the subject and one of what is behind it, that all frames are made from."""
