"""One module a page; each has `register(feed)`, which serves it."""
