"""Commands of `fedlnm-server` beside those of a deployment."""
