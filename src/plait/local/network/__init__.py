"""The network of transparent mode: a namespace a replica, and the fabric between them.

`namespace` makes and enters network namespaces, `fabric` joins them, `rules` says in nftables' words what may pass,
`egress` is the way out of the mesh, `names` the files by which workloads find names, `rights` tells whether this
machine lets us do any of that.  Nothing of it outlives the processes that hold it: a namespace that nobody
refers to any more vanishes with its links, addresses, routes and rules, and the host's own are never touched.
"""
