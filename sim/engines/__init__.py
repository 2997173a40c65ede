"""Engines that run a study on one machine: in process, and Flower's simulation."""
