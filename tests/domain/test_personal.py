"""Personal data: what looks like it in a stored event is declared, or is known not to be."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from domain.personal import PERSONAL

SHAPES: Final = sorted((Path(__file__).parents[1] / "contracts" / "events").glob("*.json"))
"""Of all events ever stored."""

LOOKS_PERSONAL: Final = {"email", "phone", "street", "city", "postal_code", "card", "reason"}
NOT_PERSONAL: Final = {
    ("PaymentDeclined", "reason"),  # the provider's code
    ("ProductDiscontinued", "reason"),  # about goods
}


def paths(shape: Any, before: str = "") -> Iterator[str]:
    """The dotted paths of all texts in a shape."""
    if isinstance(shape, dict):
        for name, inner in shape.items():
            yield from paths(inner, f"{before}.{name}" if before else name)
    else:
        yield before


def texts(file: Path) -> tuple[str, set[str]]:
    """The name of a stored event, and its fields."""
    return file.name.partition(".")[0], set(paths(json.loads(file.read_text())["shape"]))


@pytest.mark.parametrize("file", SHAPES, ids=lambda file: file.stem)
def test_what_looks_personal_is_declared(file: Path) -> None:
    name, fields = texts(file)
    suspect = {
        field
        for field in fields
        if field.rpartition(".")[2] in LOOKS_PERSONAL and (name, field) not in NOT_PERSONAL
    }
    assert suspect <= set(PERSONAL.get(name, ())), "declare them in domain/personal.py"


def test_what_is_declared_is_there() -> None:
    stored: dict[str, set[str]] = {}
    for file in SHAPES:
        name, fields = texts(file)
        stored.setdefault(name, set()).update(fields)
    assert [name for name, fields in PERSONAL.items() if not set(fields) <= stored[name]] == []
