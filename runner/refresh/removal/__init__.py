"""Remove what a refresh leaves: shadow tables, backup sets, tables that a rollback put aside."""
