"""Record the keys of rows that change before a swap, and in the rollback window after it."""
