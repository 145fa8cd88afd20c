"""What the Gateway API asks of a mesh, as its public conformance suite asks it: the same tests by name.

The documents and what is expected are written from the specification.  Left out is MeshFrontendHostname, in which
a client calls addresses that no service has: that needs transparent mode.
"""
