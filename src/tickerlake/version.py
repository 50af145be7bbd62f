"""The version, for whoever has to say it."""

from typing import Final

VERSION: Final = "0.1.0"
