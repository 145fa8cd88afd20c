"""Who may speak: the certificate authority, keys and requests, rotation rules, join tokens."""
