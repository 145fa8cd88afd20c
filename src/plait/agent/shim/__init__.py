"""The shim: one small process a replica, parent of its Envoy and of its application.

`shell` carries out what `plait.agent.life` orders; around it stand `spec` (what to run), `spawn` and `processes`
(children), `exchange` (a question over a socket), `control` (who speaks to the shim), `listening` (where the
application listens) and `logs`.  Single-threaded, on `selectors`.  Nothing outside the standard library, the life
and the model may be imported here: a shim has to stay under 20 MB.
"""
