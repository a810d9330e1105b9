"""Who may be asking. A file of its own: the command line names roles, and should start fast."""

from enum import Enum


class Role(Enum):
    CUSTOMER = "customer"
    STAFF = "staff"
    OPERATOR = "operator"
