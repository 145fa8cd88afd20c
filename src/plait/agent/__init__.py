"""What runs beside workloads: keys and secret files, Envoy's life, the shim."""
