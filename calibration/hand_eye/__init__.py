"""Where the camera is: maximum likelihood over mount, board and arm, with a covariance that holds."""
