"""Results of a run: one dictionary in, CSV tables, SVG figures and one HTML page out."""
