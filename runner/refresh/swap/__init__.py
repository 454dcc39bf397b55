"""The exchange of live and new tables: what is swapped, under which names, by which SQL."""
