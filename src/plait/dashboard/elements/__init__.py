"""What renders in the browser by a script of its own, and is sent changes."""
