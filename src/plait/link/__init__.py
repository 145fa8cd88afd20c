"""What the control plane and its agents say to each other: assignments, readiness, signing, exec and logs.

`messages` are plain frozen values with one JSON form (`codec`); `server` and `client` carry them over gRPC
with mutual TLS.  Nothing here decides anything: the control plane decides what runs, the agent how.
"""
