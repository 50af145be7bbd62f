"""Tables of BigQuery over the curated files: nothing is loaded, nothing is stored twice."""

from typing import Final

from tickerlake.errors import LakeError
from tickerlake.lake import curated
from tickerlake.lake.store.base import Store
from tickerlake.warehouse.bigquery import Warehouse
from tickerlake.warehouse.load import Loader

MOST_FILES: Final = 10_000
"""So many a table of BigQuery may name."""


def make_external(store: Store, warehouse: Warehouse, loader: Loader, *, with_views: bool) -> int:
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
    kinds = sorted({file.place.kind for file in state.files.values()})
    for kind in kinds:
        files = state.of(kind)
        if len(files) > MOST_FILES:
            raise LakeError(
                f"{len(files):,} files hold the {kind}; a table of BigQuery can show {MOST_FILES:,}.",
                "Load them instead: leave out --external.",
            )
        warehouse.ensure_external(
            f"curated_{kind}",
            f"{store.uri}/{curated.ROOT}{kind}/",
            [f"{store.uri}/{file.key}" for file in files],
        )
    if with_views:
        loader.make_views({kind: f"curated_{kind}" for kind in kinds})
    return len(state.files)
