"""Tests of plans: read case files, run each case on a throw-away server, compare what came of it."""
