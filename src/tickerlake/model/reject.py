"""A row that can't be a record: never an exception, never dropped without a word."""

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Reject:
    """A refused row.

    Parameters
    ----------
    file
        The name of the file or stream that it stood in.
    line
        Its physical line; the first is 1, a header counts.
    reason
        A code of ``tickerlake.model.quality``.
    raw
        The row as it was read.
    """

    file: str
    line: int
    reason: str
    raw: str

    def to_json(self) -> str:
        """Return one line of JSON."""
        return msgspec.json.encode(self).decode()
