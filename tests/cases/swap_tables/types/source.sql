insert into all_types (id, m, moods, e, s, p, ps, n, f, b, j, i, ts, tz, u, inet, bits, c) values
    (1, 'happy', '{sad,ok}', 'X@y', '[1,2)', '(1,2,"a ""b""")', '{"(1,2,x)",null}', 123.45, 'NaN', '\x00ff', '{"a": [1, null]}',
     '1 mon -3 days', '0044-03-15 BC', '12:00+05:30', gen_random_uuid(), '::1/64', b'101', E'tab\tnl\ncr\rback\\ bell\b'),
    (2, 'sad', '{}', 'z@z', '[1,2)', null, null, 'NaN', '-Infinity', '', 'null', '0', 'infinity', null, null, null, null, '');
insert into no_columns select from generate_series(1, 3);
insert into no_key values (1, 'x'), (1, 'x'), (null, null);
insert into toasted select n, string_agg(md5((n * m)::text), '') from generate_series(1, 3) n, generate_series(1, 3000) m group by n;
