"""Coordinator of a real deployment: its folder, its certificates, the processes it runs."""
