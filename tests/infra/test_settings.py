"""Settings from the environment."""

from dataclasses import fields
from pathlib import Path

import pytest

from infra.settings import (
    KafkaSettings,
    Limits,
    PastLimits,
    SettingInvalid,
    Settings,
    ShippingSettings,
    read_settings,
)


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read_settings({"PATH": "/bin"}) == Settings()


def test_each_kind_of_setting_is_read() -> None:
    found = read_settings(
        {
            "MONGODB_URI": "mongodb://db/",
            "TIDINGS_HOME": "/srv/tidings",
            "TIDINGS_PORT": "80",
            "TIDINGS_PRODUCTION": "True",
            "TIDINGS_ALLOWED_ORIGINS": "https://a.example, https://b.example,",
            "TIDINGS_JWT_ISSUER": "https://id.example",
            "TIDINGS_AT_LEAST_SECONDS": "0.5",
            "TIDINGS_LIMIT_DEPTH": "4",
            "TIDINGS_LIMIT_SECONDS": "2.5",
            "TIDINGS_PAST_GENERATIONS": "9",
        }
    )
    assert found == Settings(
        mongodb_uri="mongodb://db/",
        home=Path("/srv/tidings"),
        port=80,
        production=True,
        allowed_origins=("https://a.example", "https://b.example"),
        jwt_issuer="https://id.example",
        at_least_seconds=0.5,
        limits=Limits(depth=4, seconds=2.5),
        past=PastLimits(generations=9),
    )


@pytest.mark.parametrize("limit", fields(Limits), ids=lambda limit: limit.name)
def test_every_limit_can_be_set(limit: object) -> None:
    name = getattr(limit, "name", "")
    assert getattr(read_settings({f"TIDINGS_LIMIT_{name.upper()}": "7"}).limits, name) == 7


@pytest.mark.parametrize(("text", "value"), [("1", True), ("true", True), ("0", False)])
def test_yes_and_no(text: str, *, value: bool) -> None:
    assert read_settings({"TIDINGS_PRODUCTION": text}).production is value


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("TIDINGS_PORT", "http", "int"),
        ("TIDINGS_PORT", "", "int"),
        ("TIDINGS_PRODUCTION", "yes please", "bool"),
        ("TIDINGS_DRAIN_SECONDS", "soon", "float"),
        ("TIDINGS_LIMIT_TOKENS", "1e3", "int"),
    ],
)
def test_what_cannot_be_understood_is_named(name: str, text: str, kind: str) -> None:
    with pytest.raises(SettingInvalid, match=f"^{name}='{text}' is not a valid {kind}$"):
        read_settings({name: text})


@pytest.mark.parametrize("text", ["-0.1", "1.5", "nan"])
def test_the_sampler_cannot_take_more_than_a_core(text: str) -> None:
    with pytest.raises(SettingInvalid, match="TIDINGS_SAMPLER_SHARE"):
        read_settings({"TIDINGS_SAMPLER_SHARE": text})


def test_the_shipping_desk_has_a_database_of_its_own() -> None:
    found = read_settings(
        {
            "MONGODB_URI": "mongodb://ours/",
            "SHIPPING_MONGODB_URI": "mongodb://theirs/",
            "TIDINGS_SHIPPING_DATABASE": "desk",
            "TIDINGS_SHIPPING_HOME": "/srv/desk",
        }
    )
    assert found.mongodb_uri == "mongodb://ours/"
    assert found.shipping == ShippingSettings(
        mongodb_uri="mongodb://theirs/", database="desk", home=Path("/srv/desk")
    )


def test_kafka_is_used_where_its_servers_are_named() -> None:
    found = read_settings(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "a.example:9092, [::1]:9093",
            "TIDINGS_KAFKA_SMALL": "1",
            "TIDINGS_KAFKA_TOPIC_PREFIX": "trial.",
        }
    )
    assert found.kafka == KafkaSettings(
        bootstrap_servers=("a.example:9092", "[::1]:9093"), topic_prefix="trial.", small=True
    )
    assert found.kafka.topic("tidings.events") == "trial.tidings.events"
    assert read_settings({"KAFKA_BOOTSTRAP_SERVERS": " ", "TIDINGS_KAFKA_SMALL": "1"}).kafka is None


@pytest.mark.parametrize(
    "servers", ["kafka", "kafka:x", "kafka:70000", "http://kafka:9092", "a:1,b"]
)
def test_servers_of_kafka_are_hosts_with_ports(servers: str) -> None:
    with pytest.raises(SettingInvalid, match=r"KAFKA_BOOTSTRAP_SERVERS='.*' must be host:port"):
        read_settings({"KAFKA_BOOTSTRAP_SERVERS": servers})


@pytest.mark.parametrize("text", ["0", "-1", "many", ""])
def test_there_is_at_least_one_process(text: str) -> None:
    with pytest.raises(SettingInvalid, match="TIDINGS_WORKERS"):
        read_settings({"TIDINGS_WORKERS": text})
