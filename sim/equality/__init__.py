"""How equal the federated statistics are to pooled ones: `make equality`."""
