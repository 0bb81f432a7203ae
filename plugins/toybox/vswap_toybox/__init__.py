"""The Toybox: a procedural world of videos with exact ground truth."""
