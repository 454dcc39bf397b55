"""Whether each step that takes something away for good is reached only through the success of what protects it."""
