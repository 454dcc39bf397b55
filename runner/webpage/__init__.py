"""Reports as HTML pages: of one run, and of all runs and sessions. Each is one file without scripts or network."""
