"""A file a filter; each answers: on the listener? on the route? ORDER is the tuple of them all."""
