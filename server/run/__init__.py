"""The order of a study's phases, with checkpoints."""
