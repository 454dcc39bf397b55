"""What a plan does, as one record, and what differs between the records of two versions of it."""
