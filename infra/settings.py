"""Everything that can be set, read once from the environment into one frozen value."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin


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
class Settings:
    """How one process runs. Environment: `TIDINGS_<NAME>`, and `MONGODB_URI`."""

    mongodb_uri: str | None = None
    database: str = "tidings"
    home: Path = Path(".tidings")
    host: str = "127.0.0.1"
    port: int = 8000
    production: bool = False
    allowed_origins: tuple[str, ...] = ()
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwks_url: str | None = None
    at_least_seconds: float = 2.0
    drain_seconds: float = 10.0
    log_level: str = "info"
    limits: Limits = field(default_factory=Limits)


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
    found = _overrides(Settings, "TIDINGS_", environment)
    if uri := environment.get("MONGODB_URI"):
        found["mongodb_uri"] = uri
    return Settings(**{**found, "limits": limits})
