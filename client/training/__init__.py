"""Local training of networks, and their use."""
