"""Estimates the cost of a lake on Google Cloud Storage, by list prices. Pure.

The prices are the list prices of Standard storage in the region ``us-central1`` as of September 2026, from
<https://cloud.google.com/storage/pricing> (storage: $0.000027397 per GiB-hour) and
<https://cloud.google.com/storage/pricing-examples> (operations). Locations, classes and contracts differ, and
prices change: check yours.

Class A operations create an object or list a page of objects, class B operations read an object or its
metadata. The lake creates each object with one insert and never overwrites it, so the number of objects is
the number of inserts. Listings, reads and retries are not recorded: pass them as ``listings`` and ``reads``
if you counted them. Deleting is free, as is network traffic within a region. Traffic that leaves it is not
included, nor is the free tier of 5 GB and 5,000 operations per month.
"""

from dataclasses import dataclass
from typing import Final

STORAGE_USD_PER_GB_MONTH: Final = 0.020
CLASS_A_USD_PER_OPERATION: Final = 0.005 / 1_000
CLASS_B_USD_PER_OPERATION: Final = 0.0004 / 1_000
GB: Final = 1 << 30
"""A gigabyte of the price list is a GiB."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a lake in US dollars.

    Parameters
    ----------
    objects, bytes
        Number and total size of the objects.
    operations_usd
        Cost of all operations so far, paid once.
    storage_usd_per_month
        Cost of storing the objects for a month.
    """

    objects: int
    bytes: int
    operations_usd: float
    storage_usd_per_month: float

    def per_million(self, records: int) -> float:
        """Return the cost of a million records: their operations, and a month of their storage."""
        return (self.operations_usd + self.storage_usd_per_month) / records * 1e6 if records > 0 else 0.0

    def summary(self) -> str:
        """Return the cost as a human-readable sentence."""
        return (
            "At list prices of Cloud Storage (Standard, us-central1, September 2026): "
            f"${self.operations_usd:,.4f} to create {self.objects:,} objects, and "
            f"${self.storage_usd_per_month:,.4f} per month to store {self.bytes / GB:,.3f} GB; listings, "
            "reads and snapshots are not included."
        )


def estimate_cost(objects: int, total_bytes: int, *, listings: int = 0, reads: int = 0) -> Cost:
    """Estimate the cost of objects.

    Parameters
    ----------
    objects
        Number of objects created.
    total_bytes
        Total size of the stored objects.
    listings
        Listed pages, of up to 1,000 names each.
    reads
        Reads of objects, of parts of them, or of their metadata.
    """
    operations = (objects + listings) * CLASS_A_USD_PER_OPERATION + reads * CLASS_B_USD_PER_OPERATION
    return Cost(objects, total_bytes, operations, total_bytes / GB * STORAGE_USD_PER_GB_MONTH)
