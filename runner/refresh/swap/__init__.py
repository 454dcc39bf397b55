"""The exchange of live and new tables: what changes places, under which names, by which SQL."""
