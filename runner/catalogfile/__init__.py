"""Catalog files: the structure and the sizes of databases in a file, so that a diff needs no database."""
