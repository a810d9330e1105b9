"""The only code that does I/O; it knows no business noun."""
