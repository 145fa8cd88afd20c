"""What each API means: Documents become Readings.  Pure; one folder an API, one file a kind."""
