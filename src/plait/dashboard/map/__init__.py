"""The map without a browser: what is asked of it, the picture, where everything stands, and what is said of one part."""
