"""Which modules are installed, what each is, and whether it can work here now. Source: T010, T036, DESIGN 3."""

from switchgear.core.module_registry.build import PipelineUnavailable
from switchgear.core.module_registry.isolation import probe_isolation
from switchgear.core.module_registry.lacks import lack_of_failure
from switchgear.core.module_registry.registry import ModuleRegistry
from switchgear.core.module_registry.startup import Serves, StageAvailability, startup_report
from switchgear.core.module_registry.state import ModuleChange

__all__ = [
    "ModuleChange",
    "ModuleRegistry",
    "PipelineUnavailable",
    "Serves",
    "StageAvailability",
    "lack_of_failure",
    "probe_isolation",
    "startup_report",
]
