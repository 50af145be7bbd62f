"""A decision about a file, and what it rests on. Pure."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decision(Generic[T]):
    """A decision about a file.

    Parameters
    ----------
    value
        What was decided.
    reason
        What settled it, as ``inspect`` shows it.
    warning
        What is assumed and how to correct it; empty if the decision is certain.
    """

    value: T
    reason: str
    warning: str = ""
