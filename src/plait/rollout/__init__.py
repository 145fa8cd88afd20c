"""How a new version takes over: what to shift next (`step`, pure), and on what evidence.

Nothing here waits, sends or keeps: `run/rollouts` asks and acts.
"""
