"""What the API asks of the application behind it. `bootstrap.Application` is one; tests may compose a smaller one."""

from __future__ import annotations

from typing import Protocol

from switchgear.core.access_service import AccessService
from switchgear.core.activation_queue import ActivationQueue
from switchgear.core.breaker_service import Breakers
from switchgear.core.configuration_service import ConfigurationService
from switchgear.core.database import Clock, Database
from switchgear.core.idempotency import Idempotency
from switchgear.core.module_registry import ModuleRegistry
from switchgear.core.module_service import ModuleService
from switchgear.core.observability import Metrics
from switchgear.core.settings import Settings
from switchgear.core.unit_of_work import Units
from switchgear.domain.errors import DomainError
from switchgear.domain.stage import IsolationReport
from switchgear.ingestion.artifact_folder import ArtifactFolder
from switchgear.ingestion.artifact_store import ArtifactStore
from switchgear.ingestion.intake import Intake
from switchgear.ingestion.run_service import RunService
from switchgear.ingestion.sources.folder import FolderSource
from switchgear.workers.loading import Loading


class Services(Protocol):
    """The services of one instance."""

    settings: Settings
    clock: Clock
    database: Database
    units: Units
    registry: ModuleRegistry
    modules: ModuleService
    breakers: Breakers
    configurations: ConfigurationService
    activations: ActivationQueue
    runs: RunService
    intake: Intake
    folders: list[FolderSource]
    access: AccessService
    idempotency: Idempotency
    artifacts: ArtifactStore
    artifact_folder: ArtifactFolder
    metrics: Metrics
    isolation: IsolationReport
    loading: Loading
    #: Why the database cannot be used yet, while that is tried again; None once all is up.
    trouble: DomainError | None
