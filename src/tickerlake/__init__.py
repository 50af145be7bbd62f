"""Track stocks in real time: CSV files → Apache Kafka → data lake, every record exactly once."""

from tickerlake.version import VERSION as __version__  # noqa: N811 - the conventional name

TYPE_CHECKING = False  # importing `typing` would delay the start of each command
if TYPE_CHECKING:
    from tickerlake.dataset import Lake, open_lake

__all__ = ["Lake", "__version__", "open_lake"]


def __getattr__(name: str) -> object:
    """Import the public API on first use, since its dependencies are slow to import."""
    if name in {"Lake", "open_lake"}:
        from tickerlake import dataset

        return getattr(dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
