"""A postal address, as a value that customers and orders share."""

from domain.decider import DomainError, message
from domain.money import text_errors


@message
class Address:
    """A postal address; `country` and `region` are names as the customer gives them."""

    street: str
    city: str
    postal_code: str = ""
    country: str
    region: str = ""


def address_errors(address: Address, *path: str) -> list[DomainError]:
    """Street, city and country are needed; the rest may be empty but not endless."""
    errors: list[DomainError] = []
    for name in ("street", "city", "country"):
        errors += text_errors(getattr(address, name), *path, name)
    for name in ("postal_code", "region"):
        if value := getattr(address, name):
            errors += text_errors(value, *path, "postalCode" if name == "postal_code" else name)
    return errors
