"""The coordinator: orders the phases of a study, holds only sums, writes the report."""
