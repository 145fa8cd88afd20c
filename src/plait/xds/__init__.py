"""The protocol: Resources in, delta ADS streams out.  Knows nothing of meshes."""
