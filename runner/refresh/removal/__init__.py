"""The removal of what a refresh leaves: shadows, backup sets, tables that a rollback put aside."""
