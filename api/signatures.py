"""Signed callbacks: who wrote this body, and when.

1. The signature is HMAC-SHA256 over the time and the body, so neither can be changed alone.
2. Signatures are compared in constant time; one that is old, or of a clock far ahead, is none.
"""

import hashlib
import hmac
import re
from typing import Final

SIGNATURE_HEADER: Final = "Tidings-Signature"
TOLERANCE_SECONDS: Final = 300

_FORM = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")


def sign(secret: str, body: bytes, at: float) -> str:
    """The header for a body that is sent at `at` (Unix seconds)."""
    return f"t={int(at)},v1={_digest(secret, body, int(at))}"


def is_signed(secret: str, header: str, body: bytes, now: float) -> bool:
    """Whether the header was made with this secret for this body, not long ago."""
    found = _FORM.fullmatch(header)
    if found is None or abs(now - int(found[1])) > TOLERANCE_SECONDS:
        return False
    return hmac.compare_digest(found[2], _digest(secret, body, int(found[1])))


def _digest(secret: str, body: bytes, at: int) -> str:
    return hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
