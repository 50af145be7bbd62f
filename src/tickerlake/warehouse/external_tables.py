"""External tables in BigQuery over the curated files: nothing is loaded or stored twice."""

from typing import Final

from tickerlake.errors import LakeError
from tickerlake.lake import curated
from tickerlake.lake.format_version import check_format_version
from tickerlake.lake.store.base import Store
from tickerlake.warehouse.bigquery import Warehouse
from tickerlake.warehouse.load import Loader

MAX_FILES: Final = 10_000
"""BigQuery's limit on source URIs per external table."""


def ensure_external_tables(store: Store, warehouse: Warehouse, loader: Loader, *, with_views: bool) -> int:
    """Create a table ``curated_<record type>`` per record type with files, or update its list of files.

    Parameters
    ----------
    loader
        Creates the views.
    with_views
        Whether to create or update the views, too.

    Returns
    -------
    int
        Number of files in all tables.

    Raises
    ------
    LakeError
        There are no curated files, or too many.
    """
    check_format_version(store)
    state = curated.read_state(store)
    if not state.files:
        raise LakeError(f"{store.uri} has no curated files.", f"Run `tickerlake compact --lake {store.uri}`.")
    record_types = sorted({file.folder.record_type for file in state.files.values()})
    for record_type in record_types:
        files = state.files_of(record_type)
        if len(files) > MAX_FILES:
            raise LakeError(
                f"{len(files):,} files hold the {record_type}; an external table can have {MAX_FILES:,}.",
                "Load them instead: omit --external.",
            )
        warehouse.ensure_external_table(
            f"curated_{record_type}",
            f"{store.uri}/{curated.ROOT}{record_type}/",
            [f"{store.uri}/{file.key}" for file in files],
        )
    if with_views:
        loader.ensure_views({record_type: f"curated_{record_type}" for record_type in record_types})
    return len(state.files)
