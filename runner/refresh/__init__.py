"""A refresh of live tables: its record, the SQL that swaps tables, and its catalog queries."""
