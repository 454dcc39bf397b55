"""The plan language: turn YAML text into a checked, typed Plan, offline, and report all problems with their lines."""
