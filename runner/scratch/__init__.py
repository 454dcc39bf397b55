"""Scratch copies of databases: to rehearse a plan in, or to see what a program would do."""
