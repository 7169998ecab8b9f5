"""Contents of the tiny pipeline that must never become active: invalid ones, and ones that nobody can build."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st

Content = dict[str, Any]

_STAGES: Final = ("load", "upper", "count", "check", "send")
_MODULES: Final = {
    "load": ("load-text", "load-other", "load-faulty"),
    "upper": ("upper-text", "upper-other", "upper-faulty"),
    "count": ("count-words", "count-other"),
    "check": ("check-count", "check-other"),
    "send": ("send-file", "send-other"),
}
#: Modules that are installed, but work on no machine.
_NOWHERE: Final = ("upper-nobinary", "upper-nopackage", "upper-nofile", "upper-misfit")


@st.composite
def _valid(draw: st.DrawFn) -> Content:
    selections: list[Content] = [
        {"stage_id": stage, "module_id": draw(st.sampled_from(_MODULES[stage])), "settings": {}, "limits": {}}
        for stage in _STAGES
    ]
    return {"selections": selections, "fallback_policies": [], "message": draw(st.text(max_size=20))}


def _of(content: Content, stage: str) -> Content:
    found: Content = next(item for item in content["selections"] if item["stage_id"] == stage)
    return found


def _unknown_module(draw: st.DrawFn, content: Content) -> None:
    _of(content, draw(st.sampled_from(_STAGES)))["module_id"] = "no-" + draw(st.text("abc", min_size=1, max_size=9))


def _foreign_module(draw: st.DrawFn, content: Content) -> None:
    """A module of another stage."""
    _of(content, "load")["module_id"] = draw(st.sampled_from(_MODULES[draw(st.sampled_from(_STAGES[1:]))]))


def _missing_stage(draw: st.DrawFn, content: Content) -> None:
    content["selections"].remove(_of(content, draw(st.sampled_from(("load", "upper", "check", "send")))))


def _stage_twice(draw: st.DrawFn, content: Content) -> None:
    content["selections"].append(dict(_of(content, draw(st.sampled_from(_STAGES)))))


def _unknown_stage(draw: st.DrawFn, content: Content) -> None:
    _of(content, draw(st.sampled_from(_STAGES)))["stage_id"] = "no-such-stage"


def _wrong_settings(draw: st.DrawFn, content: Content) -> None:
    odd = draw(st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists, max_leaves=3))
    stage = draw(st.sampled_from(_STAGES))
    _of(content, stage)["settings"] = {"no_such_setting": odd}


def _wrong_limits(draw: st.DrawFn, content: Content) -> None:
    limits = ({"timeout_s": -1}, {"timeout_s": "soon"}, {"memory_mb": 0}, {"no_such_limit": 1}, {"queue": "A b"})
    _of(content, draw(st.sampled_from(_STAGES)))["limits"] = draw(st.sampled_from(limits))


def _circle(draw: st.DrawFn, content: Content) -> None:
    """A chain that comes back to where it began."""
    module = _of(content, "upper")["module_id"]
    then = draw(st.sampled_from(("fail", "park")))
    policy = {"stage_id": "upper", "chain": [{"module_id": module, "on": ["error"]}], "then": then}
    content["fallback_policies"] = [policy]


def _nowhere(draw: st.DrawFn, content: Content) -> None:
    _of(content, "upper")["module_id"] = draw(st.sampled_from(_NOWHERE))


def _unbuildable(draw: st.DrawFn, content: Content) -> None:
    """Nothing is wrong with it on paper: it fails when the module is looked at or opened."""
    faults = (
        {"probe": "unavailable"},
        {"probe": "raise"},
        {"open": "unavailable"},
        {"open": "raise"},
        {"open": "exit"},
    )
    settings = draw(st.sampled_from(faults))
    upper = _of(content, "upper")
    upper["module_id"], upper["settings"] = "upper-faulty", {**settings, "seconds": draw(st.floats(1, 1000))}


_DEEDS: Final = (
    _unknown_module,
    _foreign_module,
    _missing_stage,
    _stage_twice,
    _unknown_stage,
    _wrong_settings,
    _wrong_limits,
    _circle,
    _nowhere,
    _unbuildable,
)


@st.composite
def unbuildable(draw: st.DrawFn) -> Content:
    """A content that is accepted, and refused by whoever makes it ready: its module cannot be opened."""
    content = draw(_valid())
    upper = _of(content, "upper")
    upper["module_id"], upper["settings"] = "upper-faulty", {"open": "raise", "seconds": draw(st.floats(1, 1000))}
    return content | {"fallback_policies": [{"stage_id": "upper", "chain": [], "then": "fail"}]}


@st.composite
def candidates(draw: st.DrawFn) -> Content:
    """A content that was good before something was done to it; some come as drafts, which are stored all the same."""
    content = draw(_valid())
    draw(st.sampled_from(_DEEDS))(draw, content)
    return content | ({"draft": True} if draw(st.booleans()) else {})
