select * from accounts where (id = 1 and balance <> 3) or (id = 2 and balance <> 7)
