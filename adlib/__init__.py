"""adlib: visual anomaly detection that anyone can reproduce, and that survives dirty training data."""

__version__ = "0.1.0"
