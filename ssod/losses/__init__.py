"""The losses that are not the detector's own."""
