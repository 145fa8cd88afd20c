"""What a mesh does to traffic when it is much, when it lasts, and when things go wrong: counted, with real Envoys."""
