"""External tables show exactly the curated files that count."""

from pathlib import Path
from typing import Any

import pytest

from lake.test_compact import compact
from support.lakes import Topic, bar, utc_dates
from tickerlake.errors import LakeError, WarehouseError
from tickerlake.lake import curated
from tickerlake.lake.store.base import Store
from tickerlake.warehouse.bigquery import Warehouse
from tickerlake.warehouse.external import make_external
from tickerlake.warehouse.load import Loader
from warehouse.test_load import emulators, store, warehouse

__all__ = ["emulators", "store", "warehouse"]


def test_they_name_the_files_that_count_now(
    store: Store, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = Loader(store, warehouse, utc_dates, wait=lambda _: False)
    with pytest.raises(LakeError, match="no curated files"):
        make_external(store, warehouse, loader, with_views=False)
    # the emulator makes a plain table of an external one: look at what it is told, and keep that for it
    told: list[dict[str, Any]] = []
    get = warehouse._client.get_table

    def keep(*given: Any, **named: Any) -> Any:
        table = get(*given, **named)
        table._properties |= {"type": "EXTERNAL", "externalDataConfiguration": told[-1]}
        return table

    monkeypatch.setattr(warehouse._client, "get_table", keep)
    for name in ("create_table", "update_table"):
        real = getattr(warehouse._client, name)

        def tell(table: Any, *more: Any, real: Any = real, **named: Any) -> Any:
            told.append(table.to_api_repr()["externalDataConfiguration"])
            return real(table, *more, **named)

        monkeypatch.setattr(warehouse._client, name, tell)
    topic = Topic(store, "t")
    for minute in range(2):
        topic.add([bar("A", minute), bar("A", minute, interval="1d")])
        compact(store, tmp_path)
        assert make_external(store, warehouse, loader, with_views=False) == 2
        files = curated.read_state(store).of("bars")
        make_external(store, warehouse, loader, with_views=False)
        assert told[-1]["sourceUris"] == [f"{store.uri}/{file.key}" for file in files]
    assert len(told) == 2
    assert told[0]["sourceFormat"] == "PARQUET"
    assert told[0]["hivePartitioningOptions"] == {
        "mode": "AUTO",
        "sourceUriPrefix": f"{store.uri}/curated/bars/",
    }


def test_a_table_of_another_kind_is_left_alone(store: Store, warehouse: Warehouse, tmp_path: Path) -> None:
    Topic(store, "t").add([bar("A", 0)])
    compact(store, tmp_path)
    warehouse.query(f"create table `{warehouse.name}`.curated_bars (a int64)")
    loader = Loader(store, warehouse, utc_dates, wait=lambda _: False)
    with pytest.raises(WarehouseError, match="is no external table"):
        make_external(store, warehouse, loader, with_views=False)
