-- Return each row of a table as the list of values that stands in its INSERT, as pg_dump --inserts writes it.
-- tokens: table; values: one expression for each column
-- locks: ACCESS SHARE on the table
-- Binary, because the text format would escape what is in the values.
copy (select pg_catalog.concat_ws(', ', {{ values }}) from only {{ table }} as t) to stdout with (format binary)
