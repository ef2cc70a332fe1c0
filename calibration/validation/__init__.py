"""Whether a calibration holds: fresh views, pictures, touches and depth, judged against what the task tolerates."""
