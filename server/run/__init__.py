"""Runs of a study: its phases with checkpoints, progress and a clock."""
