"""Where the corners of markers and chessboards are, to hundredths of a pixel, and how surely."""
