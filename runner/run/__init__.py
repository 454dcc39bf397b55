"""What a diff, an apply or a resume is made of: the run, its executor, what it reads, what it goes on from."""
