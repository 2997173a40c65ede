"""Helpers independent of studies: files, processes, programs, text."""
