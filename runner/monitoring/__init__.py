"""What monitoring reads: metrics of runs and sessions, and the check of the newest session."""
