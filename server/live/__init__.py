"""A page that follows a run, served to this machine alone."""
