"""The outermost layer: GraphQL, HTTP, processes, wiring."""
