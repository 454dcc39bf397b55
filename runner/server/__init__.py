"""PostgreSQL programs of this machine, and private servers made of them."""
