"""Agreements of the server and the sites: formats, statistics, solvers, networks."""
