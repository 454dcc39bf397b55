"""Relations and their dependents as the catalog describes them, and what planrun refuses because of it."""
