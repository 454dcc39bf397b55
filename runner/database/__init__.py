"""The door to PostgreSQL: connections by name, deadlines for answers, the lock of a run, who is in the way."""
