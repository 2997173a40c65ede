"""A hospital's table: read strictly, turned into the tables that statistics are computed on."""
