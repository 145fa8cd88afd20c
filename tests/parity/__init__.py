"""The same intent in several APIs is the same mesh."""
