"""Following markers from frame to frame, through what covers them."""
