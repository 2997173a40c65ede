"""What the server and the sites must agree on: formats, statistics, solvers, networks."""
