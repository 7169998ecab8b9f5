"""A module runs at the level that its trust asks for, and reaches what it declares. DESIGN 3."""

from collections.abc import Callable
from typing import Any

from factories.stage_runner import configuration, pipeline
from switchgear.domain.stage import Lack, ModuleDescription, PipelineDescription, Snapshot
from switchgear.ingestion.module_pool import ModuleUse
from switchgear.ingestion.plan import ExecutionPlan


def use_of(module: ModuleDescription, **options: Any) -> ModuleUse:
    plan = ExecutionPlan(configuration(), pipeline(), **options)
    snapshot = Snapshot(0, PipelineDescription("p", (), "word", (), {}), {"a": module})
    ready = plan.ready(plan.stages[0].modules[0], snapshot)
    assert not isinstance(ready, Lack)
    return ready.use


def test_the_level_follows_trust() -> None:
    def level(module: ModuleDescription, **options: Any) -> str:
        return use_of(module, **options).level

    make: Callable[..., ModuleDescription] = ModuleDescription
    assert level(make(id="a", min_isolation="L0", distribution="switchgear"), allow_inline=False) == "L0"
    assert level(make(id="a", min_isolation="L0", distribution="other"), allow_inline=False) == "L1"
    assert level(make(id="a", min_isolation="L0", distribution="other"), allow_inline=True) == "L0"
    assert level(make(id="a", min_isolation="L1", distribution="switchgear"), allow_inline=True) == "L1"
    assert level(make(id="a", min_isolation="L0", distribution="switchgear"), level="L2") == "L0"
    assert level(make(id="a", min_isolation="L0", distribution="switchgear"), level="L2", isolate_all=True) == "L2"
    assert level(make(id="a", min_isolation="L1", distribution="other"), level="L2") == "L2"
    assert level(make(id="a", min_isolation="L0", distribution="switchgear"), level="L3", isolate_all=True) == "L3"


def test_what_a_module_declares_is_what_its_processes_may_reach() -> None:
    requires = {"files": [{"path": "/models/a"}], "binaries": ["b"], "writes": ["$C"], "network": ["d:443"]}
    use = use_of(ModuleDescription(id="a", requires=requires), level="L2")

    assert (use.reads, use.writes, use.network) == (("/models/a", "b"), ("$C",), True)
