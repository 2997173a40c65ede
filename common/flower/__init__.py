"""Adapter to Flower: the only place that imports its internals, which any release may change.

Everything else uses what Flower documents: `flwr.app`, `flwr.clientapp`, `flwr.serverapp` and its
strategies.
"""
