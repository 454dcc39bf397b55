"""The keys of rows that change meanwhile: before a swap, and in the rollback window after it."""
