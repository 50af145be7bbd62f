"""Track stocks in real time: CSV files → Apache Kafka → data lake, every record exactly once."""

from typing import TYPE_CHECKING, Any

from tickerlake.version import VERSION as __version__  # noqa: N811 - the conventional name

if TYPE_CHECKING:
    from tickerlake.dataset import Lake, open_lake

__all__ = ["Lake", "__version__", "open_lake"]


def __getattr__(name: str) -> Any:
    """Import the public API on first use, since its dependencies are slow to import."""
    if name in {"Lake", "open_lake"}:
        from tickerlake import dataset

        return getattr(dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
