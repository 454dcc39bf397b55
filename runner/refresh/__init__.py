"""A refresh of live tables: its record, the SQL by which tables change places, and what it asks the catalog."""
