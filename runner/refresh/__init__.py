"""What a refresh of live tables is: its record, its names, and the SQL that makes tables change places. Pure."""
