"""What a mesh costs: `python -m bench` measures everything side by side; the README here says what and how."""
