"""How facts arrive: files and (later) Kubernetes become Changes, and the store holds the latest of everything."""
