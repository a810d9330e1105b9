"""The parts of a projector that is fed over Kafka (see `infra.feeding.group`)."""
