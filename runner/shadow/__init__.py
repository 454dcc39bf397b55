"""Execute a refresh: load shadow tables, keep them in sync, compare and exchange them."""
