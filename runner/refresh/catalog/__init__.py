"""What the catalog says of relations and of what depends on them, as values; and what is refused because of it."""
