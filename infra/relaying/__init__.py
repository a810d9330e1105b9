"""The parts that the relay is made of (see `infra.relay`)."""
