"""Files of tracks that other programs write, read without running what they may hold. A library, not a family."""
