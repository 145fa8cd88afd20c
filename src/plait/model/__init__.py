"""What a mesh is: frozen values, the standard library alone.

Here live the nouns that every other package speaks: names and identities, documents and findings, services
and workloads, routes, policies, the Mesh that the compiler makes and the View of it that one proxy gets.
No dialect's word and no word of Envoy's belongs here, nor anything that reads a clock, a file or a socket.
"""
