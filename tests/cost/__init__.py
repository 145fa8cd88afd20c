"""What things may cost, watched by numbers that are the same on every machine: see bounds.toml."""
