"""The page of one service: what is asked of the API, what is shown of it, and its sections, a module each."""
