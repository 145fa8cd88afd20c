"""What the kinds of the Gateway API mean."""
