"""The child side of a module process: `python -m switchgear.sdk.host` is a fork server for one module.

The engine's side is `switchgear.ingestion.module_pool`. Standard library and Pydantic only. Source: DESIGN 5,
RELIABILITY 4.
"""
