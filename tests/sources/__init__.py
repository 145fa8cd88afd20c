"""Documents: how they are read, watched and kept."""
