"""The plan language: YAML text to a checked, typed Plan, offline, with all problems at their lines."""
