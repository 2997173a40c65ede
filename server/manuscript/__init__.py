"""Checklists, tables and model card for the authors of a manuscript, from results.json."""
