"""Calibrations and their views on disk."""
