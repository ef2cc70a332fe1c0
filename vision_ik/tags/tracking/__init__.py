"""From single poses to targets that move."""
