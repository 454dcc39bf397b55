"""What executes a refresh: it loads, keeps in step, compares and exchanges shadow tables."""
