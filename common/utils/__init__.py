"""Helpers that know nothing of studies: files, processes, programs, text."""
