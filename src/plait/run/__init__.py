"""The only place that builds objects: control plane, agent, runner."""
