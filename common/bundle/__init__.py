"""The final model as files, and its signature."""
