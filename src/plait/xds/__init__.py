"""The protocol: Resources in, delta ADS streams out.  Knows nothing of meshes.

Here live one type's subscription (`watch`), one stream as a state machine (`stream`), what a rejection means
(`nack`), the bytes of requests and responses (`wire`) and the gRPC service around them (`server`).  What a
resource says, and who may have it, is decided elsewhere: bodies are never opened here.
"""
