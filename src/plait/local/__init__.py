"""A mesh on this machine: workloads as processes, their addresses and environment, placement, journal.

`placement` is pure and decides what starts and stops; `machine` carries that out with what `plait.agent` offers;
`sweep` removes whatever is left of a mesh, however it ended.  What a workload means is not decided here.
"""
