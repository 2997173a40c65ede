"""Progress of a run, from its events."""
