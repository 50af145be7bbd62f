"""The version of tickerlake, in a module without imports."""

from typing import Final

VERSION: Final = "0.1.0"
