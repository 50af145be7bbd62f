"""Cost estimates, against values computed by hand."""

import pytest

from tickerlake.dashboard.health.cost import estimate_cost


def test_the_cost_of_a_million_objects() -> None:
    cost = estimate_cost(1_000_000, 1_000_000 * 1024)
    assert cost.operations_usd == pytest.approx(5.0)
    assert cost.storage_usd_per_month == pytest.approx(0.02 * 1_000_000 * 1024 / 2**30)
    assert cost.per_million(1_000_000) == pytest.approx(5.0 + 0.0190735, abs=1e-6)
    # the same records in segments of ten thousand
    assert estimate_cost(100, 1_000_000 * 100).per_million(1_000_000) == pytest.approx(
        0.0005 + 0.0018626, abs=1e-6
    )


def test_listings_and_reads_are_optional() -> None:
    assert estimate_cost(0, 0, listings=1_000).operations_usd == pytest.approx(0.005)
    assert estimate_cost(0, 0, reads=10_000).operations_usd == pytest.approx(0.004)
    assert estimate_cost(0, 0).per_million(0) == 0


def test_the_explanation_covers_all_costs() -> None:
    summary = estimate_cost(12_345, 3 << 30).summary()
    assert all(
        part in summary
        for part in ("12,345 objects", "$0.0617", "$0.0600 per month", "3.000 GB", "us-central1")
    )
