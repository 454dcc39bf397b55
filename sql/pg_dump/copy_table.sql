-- Return the rows of one table in the text format of COPY.
-- tokens: table; columns: those that are not generated
-- locks: ACCESS SHARE on the table
copy {{ table }} ({{ columns }}) to stdout
