"""The manual of the command line, from click's own tree: docs/cli.md and the man pages."""
