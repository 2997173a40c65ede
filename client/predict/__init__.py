"""`fedlnm-site predict`: the final models applied to single patients, on this machine alone."""
