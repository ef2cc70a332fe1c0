"""What a calibration is systematically off by, each found only where the views ask for it."""
