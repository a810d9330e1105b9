"""The parts that branches are made of (see `infra.branches`)."""
