"""What every command of the command line begins with: its settings, and an event loop."""

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from api.logs import configure_logs
from infra.garbage import collect_rarely
from infra.settings import Settings, read_settings


def settings_with(**overrides: Any) -> Settings:
    """The settings of the environment, but for these (None: as they are)."""
    settings = replace(
        read_settings(), **{name: value for name, value in overrides.items() if value is not None}
    )
    configure_logs(settings.log_level)
    return settings


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """What it comes to."""
    import uvloop  # noqa: PLC0415 only commands that run an event loop need it

    collect_rarely()
    return uvloop.run(work)
