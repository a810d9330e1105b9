"""How the payment provider sandbox behaves: by test card, or by rates.

1. Pure and repeatable: the same key, attempt and rates give the same behaviour.
2. Trouble happens on the first attempt only, so whoever asks again gets an answer.
3. A test card decides alone; rates are for all other cards.
"""

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Behaviour(Enum):
    """The values are the test cards."""

    OK = "ok"
    DECLINED = "declined"
    SLOW = "slow"
    TIMEOUT = "timeout"
    ERROR_500 = "error-500"
    LOST_ANSWER = "lost-answer"
    DUPLICATE_CALLBACK = "duplicate-callback"


@dataclass(frozen=True, kw_only=True)
class Rates:
    """How often (0 to 1) which trouble happens to payments without a test card."""

    declines: float = 0.0
    timeouts: float = 0.0
    errors: float = 0.0
    lost: float = 0.0
    duplicates: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        shares = [share for _, share in self.shares]
        if min(shares) < 0 or sum(shares) > 1:
            raise ValueError("Rates are between 0 and 1, and together not more than 1.")

    @property
    def shares(self) -> tuple[tuple[Behaviour, float], ...]:
        return (
            (Behaviour.DECLINED, self.declines),
            (Behaviour.TIMEOUT, self.timeouts),
            (Behaviour.ERROR_500, self.errors),
            (Behaviour.LOST_ANSWER, self.lost),
            (Behaviour.DUPLICATE_CALLBACK, self.duplicates),
        )


_CARDS: Final = {behaviour.value: behaviour for behaviour in Behaviour}

_EACH_TIME: Final = {Behaviour.DECLINED, Behaviour.DUPLICATE_CALLBACK}
"""Answers, as against trouble on the way to one."""


def behaviour(card: str, key: str, attempt: int, rates: Rates) -> Behaviour:
    """What happens to the request with this idempotency key, which comes for the nth time."""
    chosen = _CARDS.get(card) or _by_rates(key, rates)
    return chosen if attempt == 1 or chosen in _EACH_TIME else Behaviour.OK


def _by_rates(key: str, rates: Rates) -> Behaviour:
    digest = hashlib.blake2b(f"{rates.seed}/{key}".encode(), digest_size=8).digest()
    left = int.from_bytes(digest) / 2**64
    for chosen, share in rates.shares:
        if left < share:
            return chosen
        left -= share
    return Behaviour.OK
