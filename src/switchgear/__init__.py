"""Switchgear: document ingestion whose every stage can be swapped, protected and isolated while it runs."""

__version__ = "0.1.0"
