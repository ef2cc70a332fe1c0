"""Whether the camera still is where the calibration put it, and putting it right with three views."""
