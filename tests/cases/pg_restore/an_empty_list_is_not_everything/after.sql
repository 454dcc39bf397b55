select 'replaced' from noted where was <> 'users'::regclass
