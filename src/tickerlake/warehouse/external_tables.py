"""Tables of BigQuery over the curated files: nothing is loaded, nothing is stored twice."""

from typing import Final

from tickerlake.errors import LakeError
from tickerlake.lake import curated
from tickerlake.lake.store.base import Store
from tickerlake.warehouse.bigquery import Warehouse
from tickerlake.warehouse.load import Loader

MAX_FILES: Final = 10_000
"""So many a table of BigQuery may name."""


def ensure_external_tables(store: Store, warehouse: Warehouse, loader: Loader, *, with_views: bool) -> int:
    """Make a table ``curated_<kind>`` for each kind that has files, or make it show those of now.

    Returns
    -------
    int
        How many files they show.

    Raises
    ------
    LakeError
        Nothing is curated, or there are too many files.
    """
    state = curated.read_state(store)
    if not state.files:
        raise LakeError(f"{store.uri} has no curated files.", f"Run `tickerlake compact --lake {store.uri}`.")
    record_types = sorted({file.folder.record_type for file in state.files.values()})
    for record_type in record_types:
        files = state.files_of(record_type)
        if len(files) > MAX_FILES:
            raise LakeError(
                f"{len(files):,} files hold the {record_type}; a table of BigQuery can show {MAX_FILES:,}.",
                "Load them instead: leave out --external.",
            )
        warehouse.ensure_external_table(
            f"curated_{record_type}",
            f"{store.uri}/{curated.ROOT}{record_type}/",
            [f"{store.uri}/{file.key}" for file in files],
        )
    if with_views:
        loader.ensure_views({kind: f"curated_{kind}" for kind in record_types})
    return len(state.files)
