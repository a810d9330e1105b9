"""Everything that can be set, read once from the environment into one frozen value."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import inf
from pathlib import Path
from typing import Any, Final, get_origin
from urllib.parse import urlsplit

PREFERENCES: Final = ("primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest")
"""Where documents may be read from, as MongoDB calls it."""


class SettingInvalid(Exception):
    """An environment variable that cannot be understood; the text says which and why."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may ask for. Environment: `TIDINGS_LIMIT_<NAME>`."""

    body_bytes: int = 100 * 1024
    tokens: int = 1_000
    depth: int = 10
    aliases: int = 15
    fields: int = 300
    directives: int = 20
    operations: int = 5
    root_fields: int = 20
    cost: int = 2_000
    seconds: float = 10.0
    errors: int = 5
    message_bytes: int = 128 * 1024
    init_seconds: float = 5.0
    subscriptions: int = 50
    cost_per_minute: int = 600_000
    running: int = 2_000


@dataclass(frozen=True, kw_only=True)
class PastLimits:
    """How much of the past is kept at hand. Environment: `TIDINGS_PAST_<NAME>`.

    A generation of the past is one read model as of one position. `seconds` after its last use it
    is removed, before that where there are too many or they are too big together. Whoever asks for
    one waits `wait_seconds` for it to be built, and is then told to ask again.
    """

    generations: int = 60
    megabytes: int = 2_000
    seconds: float = 3_600.0
    wait_seconds: float = 8.0


@dataclass(frozen=True, kw_only=True)
class KafkaSettings:
    """Where Kafka is. Environment: `KAFKA_BOOTSTRAP_SERVERS`, and `TIDINGS_KAFKA_<NAME>`.

    `topic_prefix` stands before the name of each topic, for a cluster that others use, too. `small`
    is for a broker that knows no idempotent producers.
    """

    bootstrap_servers: tuple[str, ...]
    topic_prefix: str = ""
    small: bool = False

    def topic(self, name: str) -> str:
        """What the topic is called in this cluster."""
        return self.topic_prefix + name


@dataclass(frozen=True, kw_only=True)
class ShippingSettings:
    """The shipping desk. Environment: `TIDINGS_SHIPPING_<NAME>`, and `SHIPPING_MONGODB_URI`.

    A relative `home` is under `TIDINGS_HOME`. `api_url` is where our API is, without `/graphql`.
    `token` is one for staff; where there are development tokens, one of them stands in for it.
    """

    mongodb_uri: str | None = None
    database: str = "shipping"
    home: Path = Path("shipping")
    host: str = "127.0.0.1"
    port: int = 8002
    api_url: str = "http://127.0.0.1:8000"
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one process runs. Environment: `TIDINGS_<NAME>`, `MONGODB_URI`, and what `kafka` says.

    `sampler_share` of one core goes into comparing documents with the log, all the time.
    `read_preference` says which members of the replica set queries read documents from, and
    `documents_in_memory` how many are kept that were read (0: none; large ones count as several).
    `workers` is how many processes serve on the port, the first one included.
    """

    mongodb_uri: str | None = None
    database: str = "tidings"
    home: Path = Path(".tidings")
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    production: bool = False
    allowed_origins: tuple[str, ...] = ()
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwks_url: str | None = None
    payment_provider_url: str | None = None
    payment_provider_key: str | None = field(default=None, repr=False)
    payment_provider_seconds: float = 5.0
    payment_callback_url: str | None = None
    payment_callback_secret: str | None = field(default=None, repr=False)
    at_least_seconds: float = 2.0
    drain_seconds: float = 10.0
    keep_generations: int = 2
    log_level: str = "info"
    memory_image: tuple[str, ...] = ()
    read_preference: str = "primary"
    documents_in_memory: int = 20_000
    sampler_share: float = 0.01
    limits: Limits = field(default_factory=Limits)
    past: PastLimits = field(default_factory=PastLimits)
    kafka: KafkaSettings | None = None
    shipping: ShippingSettings = field(default_factory=ShippingSettings)


def _read(kind: Any, name: str, text: str) -> Any:
    try:
        if kind is bool:
            return {"1": True, "true": True, "0": False, "false": False}[text.lower()]
        if get_origin(kind) is tuple:
            return tuple(part.strip() for part in text.split(",") if part.strip())
        return (kind if kind in (int, float, Path) else str)(text)
    except (KeyError, ValueError):
        wanted = getattr(kind, "__name__", kind)
        raise SettingInvalid(f"{name}={text!r} is not a valid {wanted}") from None


def _overrides(cls: type, prefix: str, environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        f.name: _read(f.type, prefix + f.name.upper(), environment[prefix + f.name.upper()])
        for f in fields(cls)
        if prefix + f.name.upper() in environment
    }


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings that the environment asks for; raises `SettingInvalid`."""
    limits = Limits(**_overrides(Limits, "TIDINGS_LIMIT_", environment))
    past = PastLimits(**_overrides(PastLimits, "TIDINGS_PAST_", environment))
    found = _overrides(Settings, "TIDINGS_", environment)
    if uri := environment.get("MONGODB_URI"):
        found["mongodb_uri"] = uri
    if not 0 <= found.get("sampler_share", 0) <= 1:
        raise SettingInvalid("TIDINGS_SAMPLER_SHARE must be from 0 (off) to 1 (a whole core).")
    if found.get("documents_in_memory", 0) < 0:
        raise SettingInvalid("TIDINGS_DOCUMENTS_IN_MEMORY must be 0 (off) or more.")
    if found.get("workers", 1) < 1:
        raise SettingInvalid("TIDINGS_WORKERS must be 1 or more.")
    parts = {"kafka": _kafka(environment), "shipping": _shipping(environment)}
    return Settings(**{**found, "limits": limits, "past": past, **parts})


def _shipping(environment: Mapping[str, str]) -> ShippingSettings:
    found = _overrides(ShippingSettings, "TIDINGS_SHIPPING_", environment)
    if uri := environment.get("SHIPPING_MONGODB_URI"):
        found["mongodb_uri"] = uri
    return ShippingSettings(**found)


def _check_preference(name: str) -> None:
    if name not in PREFERENCES:
        raise SettingInvalid(f"TIDINGS_READ_PREFERENCE must be one of {', '.join(PREFERENCES)}.")


def _kafka(environment: Mapping[str, str]) -> KafkaSettings | None:
    found = _overrides(KafkaSettings, "TIDINGS_KAFKA_", environment)
    servers = environment.get("KAFKA_BOOTSTRAP_SERVERS", "")
    found["bootstrap_servers"] = _read(tuple[str, ...], "KAFKA_BOOTSTRAP_SERVERS", servers)
    if not found["bootstrap_servers"]:
        return None
    for server in found["bootstrap_servers"]:
        if not _is_address(server):
            raise SettingInvalid(
                f"KAFKA_BOOTSTRAP_SERVERS={servers!r} must be host:port, or several of them with "
                "commas between."
            )
    return KafkaSettings(**found)


def _is_address(server: str) -> bool:
    try:
        parts = urlsplit(f"//{server}")
        return bool(parts.hostname and parts.port and parts.netloc == server) and not parts.path
    except ValueError:
        return False


# -- settings that must fit together

FEWEST_CHARACTERS: Final = 16
"""Of a secret."""


def check_payment_settings(settings: Settings, *, calls: bool) -> None:
    """Whether callbacks can be trusted, and, where this process `calls`, the provider be called;
    raises `SettingInvalid`."""
    url, callbacks = settings.payment_provider_url, settings.payment_callback_url
    if settings.payment_callback_secret is not None or callbacks is not None:
        check_secret("TIDINGS_PAYMENT_CALLBACK_SECRET", settings.payment_callback_secret)
    if callbacks is not None:
        check_url("TIDINGS_PAYMENT_CALLBACK_URL", callbacks, settings)
    if not calls:
        return
    if url is None:
        _check_sandbox(settings)
        return
    check_url("TIDINGS_PAYMENT_PROVIDER_URL", url, settings)
    check_secret("TIDINGS_PAYMENT_PROVIDER_KEY", settings.payment_provider_key)
    if not 0 < settings.payment_provider_seconds < inf:
        raise SettingInvalid("TIDINGS_PAYMENT_PROVIDER_SECONDS must be more than 0.")


def _check_sandbox(settings: Settings) -> None:
    if settings.production:
        raise SettingInvalid(
            "The payment sandbox is not for production: set TIDINGS_PAYMENT_PROVIDER_URL."
        )
    given = {
        "TIDINGS_PAYMENT_PROVIDER_KEY": settings.payment_provider_key,
        "TIDINGS_PAYMENT_CALLBACK_URL": settings.payment_callback_url,
        "TIDINGS_PAYMENT_CALLBACK_SECRET": settings.payment_callback_secret,
    }
    if lone := [name for name, value in given.items() if value is not None]:
        raise SettingInvalid(f"{lone[0]} is of no use without TIDINGS_PAYMENT_PROVIDER_URL.")


def check_url(name: str, url: str, settings: Settings) -> None:
    """Raises `SettingInvalid`; in production only https will do."""
    wanted = ("https",) if settings.production else ("https", "http")
    try:
        parts = urlsplit(url)
        fine = parts.scheme in wanted and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine:
        raise SettingInvalid(f"{name} must be an {' or '.join(wanted)} URL.")


def check_secret(name: str, secret: str | None) -> None:
    """Raises `SettingInvalid` for one that can be guessed, or cannot be sent."""
    if secret is None or len(secret) < FEWEST_CHARACTERS or not _is_visible(secret):
        raise SettingInvalid(f"{name} must have {FEWEST_CHARACTERS} or more visible characters.")


def _is_visible(text: str) -> bool:
    return all("!" <= character <= "~" for character in text)
