"""The control plane's HTTP API and its client; online commands use only the client."""
