"""Rehearsals: a plan and its rollback, run on scratch copies of its databases."""
