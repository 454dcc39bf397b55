"""Backup sessions: made from one snapshot, sealed, listed, proved, restored and pruned."""
