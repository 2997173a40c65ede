"""Two runs side by side: how good, how set up, how long, with which software."""
