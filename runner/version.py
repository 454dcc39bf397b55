"""The one place that says which planrun this is."""

__version__ = "0.1.0"
