"""Losses other than the detector's own."""
