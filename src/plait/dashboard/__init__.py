"""The mesh in a browser: pages over the control plane's API, through its client and nothing else.

`server` is the process, `access` says who may look, `feed` what pages read, `frame` what is around each of them.
`pages` has one module a page, `elements` what pages are made of: Python that renders in the browser by a script of its
own, which is sent changes and not whole pictures.
"""
