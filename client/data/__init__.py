"""Read a hospital's table strictly, and turn it into the tables of the statistics."""
