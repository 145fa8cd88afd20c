"""What runs beside workloads: keys and secret files, Envoy's life, the shim.

`acts` and `life` are pure: one replica's life as a state machine.  `shim` is the small process around it, which
imports nothing but the standard library, `life` and the model.  `record` is what is kept of a replica on disk,
`shims` starts shims and speaks to them, `secrets` makes keys and has them signed, `sessions` serves exec and
logs, `enrolment` is the agent's own identity.  Nothing here decides what runs: that is `local`'s (or a cluster's).
"""
