"""Whether each step that removes something for good runs only after the success of what protects it."""
