"""How far a run has come, from its events."""
