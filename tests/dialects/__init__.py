"""What each kind means, and what is said of what is wrong with it."""
