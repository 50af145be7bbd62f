"""The version of tickerlake, in a module without imports."""

VERSION = "0.1.0"
