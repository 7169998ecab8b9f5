"""Imports a package that is not installed."""

import switchgear_no_such_package  # type: ignore[import-not-found]  # noqa: F401

from switchgear_tiny.upper_text import UpperText as UpperText
