"""Operations compiled to Python functions, and run (see README.md in this folder)."""

from api.plans.parts import Plan
from api.plans.plans import Plans
from api.plans.running import Run
from api.plans.variables import Variables

__all__ = ["Plan", "Plans", "Run", "Variables"]
