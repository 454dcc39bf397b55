"""Rules about locks over the SQL of a plan, with the lines of the templates that it comes from."""
