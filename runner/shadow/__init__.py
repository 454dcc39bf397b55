"""The hands of a refresh: they load, keep in step, compare and exchange shadow tables."""
