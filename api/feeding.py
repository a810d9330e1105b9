"""Projecting over Kafka: what a process does that shares read models with others."""

from collections.abc import Sequence

from api.operating import until_signal
from api.relaying import TOPICS
from api.runtime import BY_NAME, EVENT_TYPES, open_log
from domain.evolutions import UPCASTERS
from infra.codec import EventCodec, from_json
from infra.feeding.group import NotOwned, check_owned
from infra.kafka import KafkaUnavailable, create_topics
from infra.kafka_feed import feed_over_kafka
from infra.rebuild import begin_read_models, keep_rebuilding
from infra.settings import SettingInvalid, Settings
from readmodels.registry import PROJECTIONS


async def project_from_kafka(settings: Settings, names: Sequence[str]) -> None:
    """Feed these read models over Kafka until SIGTERM or Ctrl-C; raises `SettingInvalid` where that
    cannot be, or where there is no Kafka to begin with."""
    if settings.kafka is None:
        raise SettingInvalid("KAFKA_BOOTSTRAP_SERVERS is not set: there is nothing to feed from.")
    if unknown := [name for name in names if name not in BY_NAME]:
        raise SettingInvalid(f"There is no read model {unknown[0]}: {', '.join(BY_NAME)}.")
    chosen = [BY_NAME[name] for name in dict.fromkeys(names)]
    try:
        check_owned(chosen)
        await create_topics(settings.kafka, TOPICS)
    except (NotOwned, KafkaUnavailable) as error:
        raise SettingInvalid(str(error)) from error
    codec = EventCodec(EVENT_TYPES, UPCASTERS, from_json)
    async with open_log(settings) as (events, _):
        await begin_read_models(events, PROJECTIONS)
        await until_signal(
            feed_over_kafka(events.mongo, codec, chosen, settings.kafka),
            keep_rebuilding(events, PROJECTIONS, settings.keep_generations),
        )
