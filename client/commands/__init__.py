"""The commands of `fedlnm-site`, one a file."""
