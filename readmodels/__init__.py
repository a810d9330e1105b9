"""What clients may ask: one file per read model, each a pure fold per key."""
