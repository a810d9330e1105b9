"""Loading data: commands from a source, through the command handler or a server's GraphQL."""
