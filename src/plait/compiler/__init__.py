"""The core: merge makes the Mesh, view cuts what one proxy may see, endpoints says who is behind a cluster.

Pure.  `selection` and `hosts` know what selectors and hosts mean, `references` checks that what is named exists,
`outbound` holds what every proxy is told alike, `sharing` finds again what was made of the same in the build before.
No dialect's word and no word of Envoy's.
"""
