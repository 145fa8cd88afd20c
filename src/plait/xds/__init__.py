"""The protocol: Resources in, delta ADS streams out.  Knows nothing of meshes.

Here live one type's subscription (`watch`), one stream as a state machine (`stream`), what a rejection means
(`nack`), the bytes of requests and responses (`wire`), a stream from its opening to its end (`conversation`) and what
it carried last (`pushes`), the service around them (`server`) and how all of it is carried (`transport`).  What a
resource says, and who may have it, is decided elsewhere: bodies are never opened here.
"""
