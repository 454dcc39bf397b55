"""PostgreSQL programs of this machine, and private servers that use them."""
