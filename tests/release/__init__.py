"""What is checked before a release: docs/releasing.md, make release-check."""
