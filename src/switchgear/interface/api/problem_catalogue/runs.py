"""Reasons of runs: why one waits, fell back, is on hold, or failed. Source: INTERFACES 1, DESIGN 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from switchgear.domain.errors import Code
from switchgear.interface.api.problem_catalogue.entry import Entry

RUNS: Final[Mapping[Code, Entry]] = {
    Code.WAITING_WORKER: Entry(
        "Waits for a live worker",
        "No worker was heard of lately, or none that serves the queue of the stage, so nothing starts there. The "
        "document is safe. As a warning of validation: documents of that version would wait so.",
        "No server that takes documents is running, or it does not reach the database; or a selection names a queue "
        "(`limits.queue`) that no worker was started for.",
        "Start `switchgear serve`, or `switchgear worker --queues NAME` for a queue. `switchgear status` lists the "
        "live workers.",
    ),
    Code.WAITING_QUEUE: Entry(
        "Waits in the queue",
        "Nothing holds the run back: it starts when a worker has a free place. The reason says how many are before it.",
        "It was queued a moment ago, or more documents arrive than are processed at once.",
        "Wait. If many are before it for long, raise WORKERS or start another server on the same database.",
    ),
    Code.WAITING_DRAIN: Entry(
        "Waits for a configuration switch",
        "An activation in mode `drain` waits until running work has ended; new runs start when it is over.",
        "Somebody activated another configuration.",
        "`switchgear activations watch` shows what it waits for; `activations switch` or `activations cancel` ends it.",
    ),
    Code.WAITING_RETRY_BACKOFF: Entry(
        "Waits before the next try",
        "A module asked for a pause of more than ten seconds; the run goes on by itself afterwards.",
        "A service that the module uses is overloaded or asked to be called later.",
        "Nothing to do. `switchgear runs why` says in how many seconds it goes on, and at what time.",
    ),
    Code.WAITING_CONFIGURATION: Entry(
        "Waits for an active configuration",
        "The document is stored, but no configuration is active that could process it.",
        "The instance was started with AUTO_CONFIGURE=false, or the first version could not be activated.",
        "Create a configuration with `switchgear config create` and activate it.",
    ),
    Code.WAITING_BACKPRESSURE: Entry(
        "Too many documents wait",
        "More documents wait than `MAX_QUEUED` allows; new ones are refused, nothing of them is stored.",
        "Documents come faster than the workers carry them, or no worker is alive.",
        "Send again after `Retry-After`; `switchgear ingest` and watched folders do so by themselves. `switchgear "
        "status` says what is at work; more workers: `switchgear worker`.",
    ),
    Code.WAITING_MODULE: Entry(
        "Waits for a module",
        "All processes of the module that is needed next are busy.",
        "The module's limit `concurrency` is lower than the number of runs that need it at once.",
        "Wait, or raise the limit `concurrency` of that selection.",
    ),
    Code.FALLBACK_ERROR: Entry(
        "Fallback after an error",
        "The selected module raised an error, and a module of its chain served the stage.",
        "A fault in the module, or in something that it uses.",
        "The result is marked degraded. `switchgear runs show` has the module's message; repair it or select another.",
    ),
    Code.FALLBACK_TIMEOUT: Entry(
        "Fallback after a timeout",
        "The selected module did not answer within its limit `timeout_s` and was ended.",
        "The document is unusually large, or the module hangs.",
        "Compare the duration with other runs; raise `timeout_s` or report the document to the module's author.",
    ),
    Code.FALLBACK_CRASH: Entry(
        "Fallback after a crash",
        "The process of the selected module ended: a signal, an exit, or its memory limit.",
        "A fault in a native library, or too little memory for this document; the attempt's detail says which.",
        "For `memory_limit` raise `memory_mb`; otherwise report the document to the module's author.",
    ),
    Code.FALLBACK_CONTRACT_VIOLATION: Entry(
        "Fallback after a contract violation",
        "The selected module returned something that its contract forbids; it was not passed on.",
        "A fault in the module. The attempt's detail names the guarantee or the place in the output.",
        "Report it to the module's author, or select another module for the stage.",
    ),
    Code.FALLBACK_UNAVAILABLE: Entry(
        "Fallback because the module is unavailable",
        "The selected module cannot work here now, so it was not tried.",
        "Something that it needs is missing, or its code was changed since the version was made.",
        "`switchgear modules show` has the reason and the exact line that repairs it.",
    ),
    Code.FALLBACK_BREAKER_OPEN: Entry(
        "Fallback because the module's breaker is open",
        "The selected module was not called: it failed too often of late, or a person opened its breaker.",
        "`switchgear modules show` says what failed, or who opened it and why.",
        "It is tried again by itself, unless a person opened it. `switchgear modules breaker ID closed` when it is "
        "mended.",
    ),
    Code.FALLBACK_LOW_CONFIDENCE: Entry(
        "Fallback because of low confidence",
        "The selected module was less sure than the policy's threshold, so the next module was asked too.",
        "The document is hard to read for that module. The best of the values was used.",
        "Nothing to do for one document. If it happens often, select the other module or lower the threshold.",
    ),
    Code.FALLBACK_BAD_INPUT: Entry(
        "Fallback after a rejected document",
        "The selected module rejected the document, and the policy says to ask another one in this case.",
        "The document is damaged in a way that the other module may be able to read.",
        "Check the result; ask the sender for a better copy when it is incomplete.",
    ),
    Code.PARKED_NO_FALLBACK: Entry(
        "On hold: no fallback for this outcome",
        "The stage's module failed and its policy names no module for that kind of failure.",
        "The chain is empty, or none of its steps lists the outcome.",
        "Repair the module, then `switchgear runs retry`; or add a fallback and retry on the new version.",
    ),
    Code.PARKED_NOTHING_AVAILABLE: Entry(
        "On hold: no module was available",
        "Neither the selected module nor one of its chain can work here now, so nothing was tried.",
        "Packages, programs, files, keys or memory are missing.",
        "`switchgear modules list` shows each reason with the line that repairs it; afterwards `runs retry`.",
    ),
    Code.PARKED_CHAIN_EXHAUSTED: Entry(
        "On hold: every module failed",
        "The selected module and its whole chain were tried and failed; the policy says `park`.",
        "The attempts list each outcome and message.",
        "Repair one of the modules or select another, then `switchgear runs retry`. Document and stages are kept.",
    ),
    Code.PARKED_REVIEW: Entry(
        "On hold: a person has to decide",
        "A module found something that a person should look at before the run goes on.",
        "The facts list the reasons, such as totals that do not add up or a likely duplicate.",
        "Look at the document, then `switchgear documents release` or `documents reject` with a message.",
    ),
    Code.PARKED_WORKER_LOST: Entry(
        "On hold: its worker was lost three times",
        "Three workers ended while they had this run, so it is not tried again by itself.",
        "Usually the machine ran out of memory, or the document brings the worker down.",
        "Look for the cause in the logs, then `switchgear runs retry`.",
    ),
    Code.PARKED_MODULE_VERSION_CHANGED: Entry(
        "On hold: the module's code was changed",
        "The run holds a version whose module lock names other code than is installed now.",
        "A package was upgraded while the run was waiting.",
        "`switchgear runs retry --configuration active` starts it on the present version.",
    ),
    Code.PARKED_CORRUPT_ARTIFACT: Entry(
        "On hold: a stored file is damaged",
        "A stored document or stage output is missing, or does not have its digest any more.",
        "A disk fault, or files in the home folder were changed by hand.",
        "Restore the file from a backup, or send the document again; then `switchgear runs retry`.",
    ),
    Code.FAILED_INPUT_REJECTED: Entry(
        "Failed: the document was rejected",
        "The document itself cannot be processed; the message says why in plain words.",
        "It is damaged, encrypted, hostile, too large, or of a kind that is not supported.",
        "Ask the sender for another copy. The original is kept and can be downloaded.",
    ),
    Code.FAILED_NO_INPUT: Entry(
        "Failed: a required stage has no input",
        "A required stage has nothing to work on. The reason names the stages that could have given it, and why not.",
        "The document has no content that the earlier stages understand, such as an empty page or a scan without OCR.",
        "Send a better document, or select a module that can read this one and retry under the active configuration.",
    ),
    Code.FAILED_CHAIN_EXHAUSTED: Entry(
        "Failed: every module failed",
        "The selected module and its whole chain were tried and failed; the run ends here.",
        "The attempts list each outcome and message.",
        "Repair one of the modules or select another, then `switchgear runs retry`.",
    ),
    Code.FAILED_BUDGET: Entry(
        "Failed: the stage's time budget is used up",
        "The stage took longer than its policy's `budget_s` over all its modules.",
        "Slow modules, or a document that is unusually large.",
        "Raise `budget_s` or the speed of the modules, then `switchgear runs retry`.",
    ),
    Code.FAILED_DEADLINE: Entry(
        "Failed: the run took too long",
        "The run was at work for longer than RUN_DEADLINE_S allows.",
        "Slow modules, or a document that is unusually large.",
        "Look at the durations with `switchgear runs show`; raise RUN_DEADLINE_S if it is right; then retry.",
    ),
    Code.FAILED_POLICY: Entry(
        "Failed: the policy says so",
        "No module could serve the stage, and its policy's terminal action is `fail`.",
        "The selected module and its chain are unavailable or failed.",
        "Repair one of the modules, or change the terminal action to `park`; then `switchgear runs retry`.",
    ),
    Code.RUN_ILLEGAL_TRANSITION: Entry(
        "The run's status does not allow it",
        "A run that has ended cannot be cancelled, and only a document that waits for review is released or rejected.",
        "It ended in between, or somebody else was faster.",
        "Look at the run with `switchgear runs show`. Nothing was changed.",
    ),
}
