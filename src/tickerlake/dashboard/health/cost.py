"""What a lake costs on Cloud Storage, by the list prices. Pure.

The prices are those of the class Standard in a region of the United States (``us-central1``), as Google's
public page <https://cloud.google.com/storage/pricing> gave them in early 2026, noted from memory. Other
regions and classes cost more or less, contracts less, and prices change: compare before relying on them.

Operations are of class A (each object that is created, each page of a listing) or B (each read of an object
or of what is known about it). A lake creates each object with one insert and never writes it again, so
its objects tell how many inserts there were. Listings, reads and attempts that were repeated leave no
trace: give them as ``listings`` and ``reads`` if you counted them. Deleting is free, as is the network within
a region. What leaves it is not counted, nor are the first 5 GB and 5,000 operations a month that are free.
"""

from dataclasses import dataclass
from typing import Final

STORAGE_USD_PER_GB_MONTH: Final = 0.020
CLASS_A_USD_PER_OPERATION: Final = 0.005 / 1_000
CLASS_B_USD_PER_OPERATION: Final = 0.0004 / 1_000
GB: Final = 1 << 30
"""What the price list means by a gigabyte."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Dollars for a lake.

    Parameters
    ----------
    objects, bytes
        What it is reckoned from.
    operations_usd
        Paid once, for all operations so far.
    storage_usd_per_month
        Paid as long as the bytes lie there.
    """

    objects: int
    bytes: int
    operations_usd: float
    storage_usd_per_month: float

    def per_million(self, records: int) -> float:
        """Return the dollars for a million records: their operations, and one month of their bytes."""
        return (self.operations_usd + self.storage_usd_per_month) / records * 1e6 if records > 0 else 0.0

    def summary(self) -> str:
        """Return one sentence for people."""
        return (
            f"List prices of Cloud Storage (Standard, us-central1): ${self.operations_usd:,.4f} to create "
            f"{self.objects:,} objects, and ${self.storage_usd_per_month:,.4f} a month to keep "
            f"{self.bytes / GB:,.3f} GB; listings, reads and snapshots are not counted."
        )


def estimate_cost(objects: int, total_bytes: int, *, listings: int = 0, reads: int = 0) -> Cost:
    """Return what objects cost.

    Parameters
    ----------
    objects
        How many were created.
    size
        Bytes of all that are kept.
    listings
        Pages of up to 1,000 names.
    reads
        Objects read, whole or in part, or looked up.
    """
    operations = (objects + listings) * CLASS_A_USD_PER_OPERATION + reads * CLASS_B_USD_PER_OPERATION
    return Cost(objects, total_bytes, operations, total_bytes / GB * STORAGE_USD_PER_GB_MONTH)
