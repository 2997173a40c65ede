"""A page of single patients for their own hospital; nothing of it ever leaves."""
