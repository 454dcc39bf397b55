"""The record of every intention and result of a run: appended, never edited, read by resume, status and history.

One record is one event as JSON. A plan that changes nothing in the database keeps its records in a file; else
they are in schema `planrun` of the target, and the row of an SQL action is committed with the action itself.
"""
