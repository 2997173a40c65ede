"""study.toml as one validated model."""
