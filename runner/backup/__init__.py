"""Backup sessions: create them from one snapshot, list, verify, restore and prune them."""
