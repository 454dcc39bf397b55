select * from jobs where state = 'stuck'
