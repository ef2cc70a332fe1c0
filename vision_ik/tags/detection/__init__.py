"""Finding markers: the ladder of looks, its readers, and what passes as a marker."""
