"""SQL from templates: every value a whole literal or identifier, parsed by PostgreSQL's own parser."""
