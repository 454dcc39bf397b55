"""Access to PostgreSQL: connections by name, deadlines for answers, the lock of a run, blockers of locks."""
