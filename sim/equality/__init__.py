"""Compare federated statistics with pooled ones: `make equality`."""
