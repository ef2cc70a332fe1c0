"""A page about a calibration."""
