"""Phantom hospitals: cohorts, CT volumes and contours with a known ceiling."""
