"""Backups of a whole instance while it works, and bringing one back. Source: INTERFACES 3 (`backup`, `restore`)."""

from __future__ import annotations

from switchgear.ingestion.backup.manifest import BackupRefused, Manifest
from switchgear.ingestion.backup.restoring import Restored, restore
from switchgear.ingestion.backup.saving import Saved, save

__all__ = ["BackupRefused", "Manifest", "Restored", "Saved", "restore", "save"]
