"""External tables show exactly the current curated files."""

from pathlib import Path
from typing import Any

import pytest

from lake.test_compact import compact
from support.lake_builder import LakeTopic, bar, utc_dates
from tickerlake.errors import LakeError, WarehouseError
from tickerlake.lake import curated
from tickerlake.lake.store.base import Store
from tickerlake.warehouse.bigquery import Warehouse
from tickerlake.warehouse.external_tables import ensure_external_tables
from tickerlake.warehouse.load import Loader
from warehouse.test_load import emulators, store, warehouse

__all__ = ["emulators", "store", "warehouse"]


def test_external_tables_list_the_current_files(
    store: Store, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = Loader(store, warehouse, utc_dates, wait=lambda _: False)
    with pytest.raises(LakeError, match="no curated files"):
        ensure_external_tables(store, warehouse, loader, with_views=False)
    # the emulator creates a plain table: record the configuration that is sent, and return it
    sent_configurations: list[dict[str, Any]] = []
    get = warehouse._client.get_table

    def get_external_table(*args: Any, **kwargs: Any) -> Any:
        table = get(*args, **kwargs)
        table._properties |= {"type": "EXTERNAL", "externalDataConfiguration": sent_configurations[-1]}
        return table

    monkeypatch.setattr(warehouse._client, "get_table", get_external_table)
    for name in ("create_table", "update_table"):
        real = getattr(warehouse._client, name)

        def record_configuration(table: Any, *args: Any, real: Any = real, **kwargs: Any) -> Any:
            sent_configurations.append(table.to_api_repr()["externalDataConfiguration"])
            return real(table, *args, **kwargs)

        monkeypatch.setattr(warehouse._client, name, record_configuration)
    topic = LakeTopic(store, "t")
    for minute in range(2):
        topic.add_segment([bar("A", minute), bar("A", minute, interval="1d")])
        compact(store, tmp_path)
        assert ensure_external_tables(store, warehouse, loader, with_views=False) == 2
        files = curated.read_state(store).files_of("bars")
        ensure_external_tables(store, warehouse, loader, with_views=False)
        assert sent_configurations[-1]["sourceUris"] == [f"{store.uri}/{file.key}" for file in files]
    assert len(sent_configurations) == 2
    assert sent_configurations[0]["sourceFormat"] == "PARQUET"
    assert sent_configurations[0]["hivePartitioningOptions"] == {
        "mode": "AUTO",
        "sourceUriPrefix": f"{store.uri}/curated/bars/",
    }


def test_a_table_of_another_type_is_left_alone(store: Store, warehouse: Warehouse, tmp_path: Path) -> None:
    LakeTopic(store, "t").add_segment([bar("A", 0)])
    compact(store, tmp_path)
    warehouse.query(f"create table `{warehouse.name}`.curated_bars (a int64)")
    loader = Loader(store, warehouse, utc_dates, wait=lambda _: False)
    with pytest.raises(WarehouseError, match="exists and is not an external table"):
        ensure_external_tables(store, warehouse, loader, with_views=False)
