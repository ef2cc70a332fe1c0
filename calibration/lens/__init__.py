"""What the lens does: intrinsics with an uncertainty that holds."""
