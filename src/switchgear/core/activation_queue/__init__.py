"""Activations: queued, warmed beside what serves, drained, switched. Source: T006, T012, DESIGN 4."""

from switchgear.core.activation_queue.queue import FRESH_US, ActivationQueue, uses_of
from switchgear.core.activation_queue.running_work import ActivationPage, ActivationView, BlockingRun, RunningWork
from switchgear.core.activation_queue.switch import relocked, requester, step, switch

__all__ = [
    "FRESH_US",
    "ActivationPage",
    "ActivationQueue",
    "ActivationView",
    "BlockingRun",
    "RunningWork",
    "relocked",
    "requester",
    "step",
    "switch",
    "uses_of",
]
