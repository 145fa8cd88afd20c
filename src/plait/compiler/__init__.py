"""The core: merge makes the Mesh out of Readings, view cuts what one proxy may see, endpoints says who is behind a cluster."""
