"""The book of the payment provider sandbox: a SQLite file, so that a crash forgets no charge.

1. A request is carried out and its answer kept in one transaction, before the answer is given.
2. A key that comes again gets the first answer; with another request it is refused.
3. The book takes what it is told under different keys, as a provider does: `double_charges` counts
   what was charged twice under one reference of the merchant.
4. `synchronous=NORMAL`: what was answered survives a kill of the process, though the last moments
   may be lost with the power. It is a sandbox.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS requests (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, attempts INTEGER NOT NULL,
    repeats INTEGER NOT NULL DEFAULT 0, answer TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS payments (
    reference TEXT PRIMARY KEY, merchant_reference TEXT NOT NULL, currency TEXT NOT NULL,
    amount INTEGER NOT NULL, card TEXT NOT NULL, status TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS movements (
    id INTEGER PRIMARY KEY, reference TEXT NOT NULL, kind TEXT NOT NULL,
    merchant_reference TEXT NOT NULL, amount INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS movements_of ON movements (reference, kind);
CREATE TABLE IF NOT EXISTS callbacks (
    id INTEGER PRIMARY KEY, url TEXT NOT NULL, body TEXT NOT NULL, copies INTEGER NOT NULL
) STRICT;
"""


class BookUnusable(Exception):
    """The file cannot be opened, or is something else; the text says which and why."""


class KeyReused(Exception):
    """The idempotency key has been used for another request."""


@dataclass(frozen=True)
class Payment:
    """`captured` and `refunded` are sums."""

    reference: str
    merchant_reference: str
    currency: str
    amount: int
    card: str
    status: str
    captured: int = 0
    refunded: int = 0


@dataclass(frozen=True)
class Callback:
    """A body that is still to be sent to a URL, `copies` times."""

    id: int
    url: str
    body: str
    copies: int


@contextmanager
def open_book(path: Path) -> Iterator["Book"]:
    """The book in this file, a new one if need be; raises `BookUnusable`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(SCHEMA)
    except (OSError, sqlite3.Error) as error:
        raise BookUnusable(f"{path} cannot be the book of the sandbox: {error}") from error
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as db:
        db.execute("PRAGMA synchronous=NORMAL")
        yield Book(db)


class Book:
    """Calls are short, and made on the event loop: a file is written, not waited for."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside, or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # -- requests

    def arrived(self, key: str, fingerprint: str) -> tuple[int, str | None]:
        """How often the key has come, and what it was answered; raises `KeyReused`."""
        first, attempts, answer = self._db.execute(
            "INSERT INTO requests (key, fingerprint, attempts) VALUES (?, ?, 1)"
            " ON CONFLICT (key) DO UPDATE SET attempts = attempts + 1,"
            " repeats = repeats + (answer IS NOT NULL)"
            " RETURNING fingerprint, attempts, answer",
            (key, fingerprint),
        ).fetchone()
        if first != fingerprint:
            raise KeyReused(key)
        return attempts, answer

    def answer(self, key: str, answer: str) -> None:
        """Keep what the key was answered."""
        self._db.execute("UPDATE requests SET answer = ? WHERE key = ?", (answer, key))

    # -- payments

    def open(self, payment: Payment) -> None:
        self._db.execute(
            "INSERT INTO payments VALUES (?, ?, ?, ?, ?, ?)",
            (
                payment.reference,
                payment.merchant_reference,
                payment.currency,
                payment.amount,
                payment.card,
                payment.status,
            ),
        )

    def payment(self, reference: str) -> Payment | None:
        row = self._db.execute(
            "SELECT reference, merchant_reference, currency, amount, card, status,"
            " (SELECT coalesce(sum(m.amount), 0) FROM movements m"
            "  WHERE m.reference = p.reference AND kind = 'capture'),"
            " (SELECT coalesce(sum(m.amount), 0) FROM movements m"
            "  WHERE m.reference = p.reference AND kind = 'refund')"
            " FROM payments p WHERE reference = ?",
            (reference,),
        ).fetchone()
        return None if row is None else Payment(*row)

    def move(self, reference: str, kind: str, merchant_reference: str, amount: int) -> None:
        """Enter a capture, a void or a refund."""
        self._db.execute(
            "INSERT INTO movements (reference, kind, merchant_reference, amount)"
            " VALUES (?, ?, ?, ?)",
            (reference, kind, merchant_reference, amount),
        )
        if kind == "void":
            self._db.execute(
                "UPDATE payments SET status = 'voided' WHERE reference = ?", (reference,)
            )

    # -- callbacks

    def call_back(self, url: str, body: str, copies: int) -> Callback:
        """Keep it until it has been sent."""
        row = self._db.execute(
            "INSERT INTO callbacks (url, body, copies) VALUES (?, ?, ?) RETURNING id",
            (url, body, copies),
        ).fetchone()
        return Callback(row[0], url, body, copies)

    def callbacks(self) -> list[Callback]:
        """Those still to be sent."""
        rows = self._db.execute("SELECT id, url, body, copies FROM callbacks ORDER BY id")
        return [Callback(*row) for row in rows]

    def called_back(self, callback: Callback) -> None:
        self._db.execute("DELETE FROM callbacks WHERE id = ?", (callback.id,))

    # -- totals

    def totals(self) -> dict[str, Any]:
        """The book as a whole, amounts in minor units by currency."""
        return {
            "currencies": self._sums(),
            "payments": self._number("SELECT count(*) FROM payments"),
            "declined": self._number("SELECT count(*) FROM payments WHERE status = 'declined'"),
            "requests": self._number("SELECT count(*) FROM requests"),
            "double_charges": self._number(
                "SELECT (SELECT count(*) - count(DISTINCT merchant_reference) FROM payments"
                "  WHERE status <> 'declined')"
                " + (SELECT count(*) - count(DISTINCT reference || '/' || kind || '/' ||"
                "  merchant_reference) FROM movements)"
            ),
            "double_charges_prevented": self._number(
                "SELECT coalesce(sum(repeats), 0) FROM requests"
            ),
        }

    def _sums(self) -> dict[str, dict[str, int]]:
        rows: list[Sequence[Any]] = self._db.execute(
            "SELECT currency, 'authorised', sum(amount) FROM payments"
            " WHERE status <> 'declined' GROUP BY currency"
            " UNION ALL SELECT currency,"
            " CASE kind WHEN 'capture' THEN 'captured' WHEN 'refund' THEN 'refunded'"
            " ELSE 'voided' END, sum(m.amount)"
            " FROM movements m JOIN payments USING (reference) GROUP BY currency, kind"
        ).fetchall()
        sums: dict[str, dict[str, int]] = {}
        for currency, what, amount in rows:
            none = {"authorised": 0, "captured": 0, "refunded": 0, "voided": 0}
            sums.setdefault(currency, none)[what] = amount
        return sums

    def _number(self, query: str) -> int:
        return int(self._db.execute(query).fetchone()[0])
