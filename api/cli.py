"""What every command of the command line begins with: its settings, and an event loop."""

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from api.logs import configure_logs
from infra.interpreter import prepare_interpreter
from infra.settings import SettingInvalid, Settings, read_settings


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

    prepare_interpreter()
    return uvloop.run(work)


def is_refusal(error: Exception) -> bool:
    """Whether it says in one line what cannot work, and needs no traceback."""
    from api.sandbox_book import BookUnusable  # noqa: PLC0415 good commands start faster without
    from infra.embedded import EmbeddedUnavailable  # noqa: PLC0415 as above
    from infra.mongo import Unavailable  # noqa: PLC0415 as above
    from infra.moving.frames import MoveRefused  # noqa: PLC0415 as above

    told = (SettingInvalid, EmbeddedUnavailable, Unavailable, BookUnusable, MoveRefused)
    return isinstance(error, told)
