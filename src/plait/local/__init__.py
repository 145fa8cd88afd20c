"""A mesh on this machine: workloads as processes, their addresses, placement, journal."""
