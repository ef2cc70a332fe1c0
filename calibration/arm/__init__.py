"""The arm as it is: joint zeros and link geometry from the views of a hand-eye calibration."""
