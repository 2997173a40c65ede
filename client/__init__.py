"""What runs inside a hospital: everything that touches patients, and what guards it."""
