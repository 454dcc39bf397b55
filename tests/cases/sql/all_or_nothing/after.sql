select * from accounts where (id = 1 and balance <> 10) or (id = 2 and balance <> 0) or id = 3
