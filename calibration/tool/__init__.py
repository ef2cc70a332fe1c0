"""Where the tool is on the flange, and where it shall go seen from a tag."""
