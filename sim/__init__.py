"""Studies on one machine: phantom hospitals, an in-process grid, references, and the command."""
