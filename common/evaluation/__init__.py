"""Performance measures, their tests and tables, from sums or from rows at one site."""
