"""Events as people tell them, in JSON."""

from typing import Any

import bson
import msgspec
from bson.errors import InvalidDocument

from infra.branching.changing import BranchRefused, Refusal
from infra.codec import from_stored, to_stored
from infra.mongo import CODEC


def event_told(kind: type, data: Any) -> Any:
    """The event, with values as they can be stored; times without an offset are in UTC."""
    try:
        told = to_stored(msgspec.convert(data, kind))
        return from_stored(kind, bson.decode(bson.encode(told), CODEC))
    except (msgspec.ValidationError, InvalidDocument, OverflowError, UnicodeError) as error:
        text = f"This is no {kind.__name__}: {error}"
        raise BranchRefused(Refusal.EVENT_INVALID, text[:500]) from error
