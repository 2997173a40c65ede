"""Everything that a site must not forget between two messages."""
