"""The variants there are: what would have happened to orders under another rule.

1. A variant says how an order would have been placed. What follows from that is asked of the
   process from order to cash, twice: of the order as it was and as it is now. An amount, or a
   ledger entry, that the process asked for is what it asks for now; so the ledger still balances.
2. An order whose lines stay as they were is left alone, and so is what nobody but people asked for.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar, get_args

from domain.account import EntryPosted, PostEntry
from domain.decider import message
from domain.money import gross, rounded, tax
from domain.order import Event as OrderEvent
from domain.order import OrderCancelled, OrderLinesReturned, OrderPlaced
from domain.order_line import Line
from domain.order_to_cash import ORDER_TO_CASH, Story
from domain.payment import (
    AuthorisationRequested,
    AuthorisePayment,
    CapturePayment,
    CaptureRequested,
    PaymentCaptured,
    PaymentRefunded,
    RefundAwaited,
    RefundPayment,
    RefundRequested,
)
from domain.variant import Variant

R = TypeVar("R")

# -- what follows from how an order was placed

Paid: TypeAlias = (
    AuthorisationRequested
    | CaptureRequested
    | PaymentCaptured
    | RefundAwaited
    | RefundRequested
    | PaymentRefunded
)

FOLLOWED: Final = (*get_args(OrderEvent), *get_args(Paid), EntryPosted)

Asked: TypeAlias = AuthorisePayment | CapturePayment | RefundPayment | PostEntry


@message
class Told:
    """A story so far, and what the process has asked for in it, by what tells it apart."""

    story: Story
    asked: dict[tuple[str, ...], Asked]


@message
class Retold:
    """An order as it was, and as it is under the variant's rule."""

    real: Told
    now: Told


NOTHING: Final = Told(story=ORDER_TO_CASH.initial, asked={})


def _followed(told: Told, event: Any) -> Told:
    """The story with the event and what the process asks for then."""
    story = ORDER_TO_CASH.evolve(told.story, event)
    actions = ORDER_TO_CASH.react(story, event)
    asked = {_name(action): action for action in actions if isinstance(action, get_args(Asked))}
    return Told(story=story, asked={**told.asked, **asked})


def _name(thing: Any) -> tuple[str, ...]:
    """What an event has in common with the command that it came of."""
    match thing:
        case AuthorisePayment() | AuthorisationRequested():
            return "authorisation", thing.payment_id
        case CapturePayment() | CaptureRequested() | PaymentCaptured():
            return "capture", thing.payment_id, thing.capture_id
        case RefundPayment() | RefundRequested() | RefundAwaited() | PaymentRefunded():
            return "refund", thing.payment_id, thing.refund_id
        case PostEntry() | EntryPosted():
            return "entry", thing.entry_id
        case _:
            return ()


def _rewrite(
    line: Callable[[R, OrderPlaced, Line], Line], rule: R, state: Retold | None, event: Any
) -> tuple[Retold | None, Any]:
    """The event, given how a line is ordered under the rule."""
    if isinstance(event, OrderPlaced):
        instead = _placed(event, tuple(line(rule, event, one) for one in event.lines))
        if instead == event:
            return None, event
        retold = Retold(real=_followed(NOTHING, event), now=_followed(NOTHING, instead))
        return retold, instead
    if state is None:
        return None, event
    instead = _instead(state, event)
    now = state.now if instead is None else _followed(state.now, instead)
    return Retold(real=_followed(state.real, event), now=now), instead


def _placed(event: OrderPlaced, lines: tuple[Line, ...]) -> OrderPlaced:
    parts = [(line.net_exact, line.tax) for line in lines]
    total = gross(parts)
    return replace(event, lines=lines, net=total - tax(parts), tax=tax(parts), total=total)


def _instead(state: Retold, event: Any) -> Any:
    match event:
        case OrderCancelled() | OrderLinesReturned():
            lines = tuple(state.now.story.lines[line.number - 1] for line in event.lines)
            return replace(event, lines=lines)
        case EntryPosted() if _is_of_process(state, event):
            return _posted(state, event)
        case _ if isinstance(event, get_args(Paid)) and _is_of_process(state, event):
            return _paid(state, event)
        case _:
            return event


def _is_of_process(state: Retold, event: Any) -> bool:
    return _name(event) in state.real.asked


def _posted(state: Retold, event: EntryPosted) -> EntryPosted | None:
    """The entry with what moves in it now: nothing, and there is none."""
    asked = state.now.asked.get(_name(event))
    postings = asked.postings if isinstance(asked, PostEntry) else ()
    moved = tuple(posting for posting in postings if posting.amount)
    return replace(event, postings=moved) if moved else None


def _paid(state: Retold, event: Paid) -> Paid | None:
    asked = state.now.asked.get(_name(event))
    if asked is None or isinstance(asked, PostEntry):
        return None
    return replace(event, amount=asked.amount)


def _variant(name: str, rule: type[R], line: Callable[[R, OrderPlaced, Line], Line]) -> Variant[R]:
    """A variant that says how a line would have been ordered."""
    return Variant(name, rule, FOLLOWED, lambda event: event.order_id, partial(_rewrite, line))


# -- the variants there are


@message
class Repriced:
    """A product has cost `factor` (in basis points) of its price since a day."""

    sku: str
    factor: int
    since: date


def _repriced(rule: Repriced, event: OrderPlaced, line: Line) -> Line:
    """A price is a whole number of minor units: it is rounded by the rule of `money`."""
    if line.sku != rule.sku or event.at.date() < rule.since:
        return line
    return replace(line, unit_price=rounded(line.unit_price * rule.factor))


@message
class TaxFree:
    """Nothing has been taxed since a day."""

    since: date


def _tax_free(rule: TaxFree, event: OrderPlaced, line: Line) -> Line:
    return line if event.at.date() < rule.since else replace(line, tax=0)


REPRICED: Final = _variant("repriced", Repriced, _repriced)
TAX_FREE: Final = _variant("tax_free", TaxFree, _tax_free)

VARIANTS: Final[tuple[Variant[Any], ...]] = (REPRICED, TAX_FREE)
