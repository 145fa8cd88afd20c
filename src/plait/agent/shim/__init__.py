"""The shim: one small process a replica, parent of its Envoy and of its application.

`entry` is its beginning, `shell` carries out what `plait.agent.life` orders; around it stand `spec` (what to run),
`spawn` and `processes` (children), `exchange` (a question over a socket), `control` (who speaks to the shim),
`listening` (where the application listens) and `logs`.

Where the replica is shut in (transparent mode), the shim is the first process of its namespaces.  `needs` and `sight`
say what a process must see of the machine and what hides it, `room` mounts such a view, `quarters` has one for each
of the two children, `rights` takes everything else from them, and `refusal` says what they can't see all the same.
`outside` knows what they are called outside; `kernel` has the calls that Python lacks.

Single-threaded, on `selectors`.  Nothing outside the standard library, the life and the model may be imported here:
a shim has to stay under 20 MB.
"""
