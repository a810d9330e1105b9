"""Moving a log from one database to another: a file, and what is left out of it."""
