"""The Gateway API for a mesh: routes whose parents are Services (GEP-1294), and who may refer to whom."""
