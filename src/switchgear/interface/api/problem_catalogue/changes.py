"""Reasons of modules, activations and configurations. Source: INTERFACES 1, DESIGN 3, 4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from switchgear.domain.errors import Code
from switchgear.interface.api.problem_catalogue.entry import Entry

MODULES: Final[Mapping[Code, Entry]] = {
    Code.MODULE_IMPORT_ERROR: Entry(
        "Module cannot be imported",
        "The module's package is installed, but Python cannot import it, or not within its time.",
        "A package that it needs has another version than it expects, or its code has a fault.",
        "`switchgear modules show` has Python's message; reinstall or upgrade the package, then `modules rescan`.",
    ),
    Code.MODULE_MISSING_BINARY: Entry(
        "A program is missing",
        "The module needs a program that is not on the server's PATH.",
        "It was not installed on this machine or in this container.",
        "Run the line that `switchgear modules show` prints. The module comes back by itself.",
    ),
    Code.MODULE_MISSING_FILE: Entry(
        "A file is missing",
        "The module needs a file, such as a model, that is absent or has another digest.",
        "It was not downloaded, or it was replaced.",
        "Run the line that `switchgear modules show` prints. The module comes back by itself.",
    ),
    Code.MODULE_MISSING_PACKAGE: Entry(
        "A Python package is missing",
        "The module needs a Python package that is not installed, or not in the version that it needs.",
        "The extra that brings the package was not installed.",
        "Run the line that `switchgear modules show` prints, then `switchgear modules rescan`.",
    ),
    Code.MODULE_MISSING_ENVIRONMENT: Entry(
        "An environment variable is missing",
        "The module needs a variable that the server's environment does not have.",
        "The server was started without it.",
        "Set the variable where the server is started, and restart it.",
    ),
    Code.MODULE_MISSING_MEMORY: Entry(
        "Too little free memory",
        "Less memory is free than the module needs to start.",
        "Other processes use it, or the machine or container is too small.",
        "Free memory or give the machine more. The module comes back by itself.",
    ),
    Code.MODULE_DUPLICATE_ID: Entry(
        "Two packages offer the same module id",
        "The id is offered by more than one installed package, so none of them is used.",
        "Two packages chose the same name, or one package is installed twice.",
        "Uninstall one of the packages that `switchgear modules show` names, then `modules rescan`.",
    ),
    Code.MODULE_BAD_SETTINGS: Entry(
        "The settings do not fit the module",
        "The module refuses the settings that the configuration gives it.",
        "The module was upgraded and its settings changed, or a value is out of range.",
        "Compare with the settings schema in `switchgear modules show` and make a new version with `config set`.",
    ),
    Code.MODULE_PROBE_FAILED: Entry(
        "The module says that it cannot work",
        "The module's own check with these settings failed; its message is shown.",
        "Something that it uses does not answer or refuses the credentials.",
        "Follow the module's message. It is asked again by itself, with growing pauses.",
    ),
    Code.MODULE_BREAKER_OPEN: Entry(
        "The module's breaker is open",
        "Of the module's last calls at least half failed, or a person opened its breaker; it is left alone and its "
        "fallback serves.",
        "The module, or something that it uses, is broken; its attempts in `switchgear runs show` say how.",
        "Mend it. After a pause single calls try whether it works, and two good ones close the breaker; `switchgear "
        "modules breaker ID closed` does it now. Runs that were put on hold: `switchgear runs retry --parked`.",
    ),
    Code.MODULE_VERSION_CHANGED: Entry(
        "The module's code is not the locked one",
        "The installed code differs from what the configuration's module lock names.",
        "The package was upgraded, downgraded or edited after the version was made.",
        "`switchgear modules rescan`; then activate a new version, or install the locked version again.",
    ),
    Code.MODULE_DISABLED: Entry(
        "The module was disabled",
        "A maintainer disabled the module; nobody uses it until it is enabled.",
        "The audit trail says who did it and why.",
        "`switchgear modules enable ID` when the reason is gone.",
    ),
    Code.MODULE_ISOLATION: Entry(
        "Isolation is too weak for the module",
        "The module, or the setting ISOLATION, demands a higher level of isolation than this machine has. Or the "
        "module declares to write what belongs to the instance itself.",
        "The kernel or the container does not offer the measure.",
        "`switchgear doctor` lists each measure and why it is missing; run the server where it is available.",
    ),
}

ACTIVATIONS: Final[Mapping[Code, Entry]] = {
    Code.ACTIVATION_PENDING: Entry(
        "Another activation is pending",
        "Only one activation can wait at a time; the answer links to the one that does.",
        "Somebody else activated or rolled back a moment ago.",
        "Wait for it, cancel it, or ask again with `replace_pending`.",
    ),
    Code.ACTIVATION_NOT_PENDING: Entry(
        "The activation has ended",
        "Nothing more can be done to an activation that was applied, rejected, cancelled or has expired.",
        "It ended before the request arrived.",
        "Look at its outcome with `switchgear activations list`; request a new one when it is needed.",
    ),
    Code.ACTIVATION_DRAINING: Entry(
        "Waits for running work",
        "The activation waits until the running runs have ended, at the latest until `max_wait_s` is over.",
        "Runs hold the version that is active now and finish on it.",
        "Wait, or `switchgear activations switch` to switch now: what runs then finishes on the version it holds.",
    ),
    Code.ACTIVATION_VALIDATION: Entry(
        "Validation refused the switch",
        "The configuration was validated again at the moment of the switch, and it does not fit any more.",
        "A module went away or changed while the activation was waiting. The old version stays active.",
        "Repair what the findings name and activate again.",
    ),
    Code.ACTIVATION_WORKER_REFUSED: Entry(
        "A worker refused the configuration",
        "A live worker could not prepare the configuration; its reason is shown. The old version stays active.",
        "A module, a secret or a warm process is missing on that worker.",
        "Repair what the reason names and activate again.",
    ),
    Code.ACTIVATION_WORKER_MISSING: Entry(
        "A worker did not answer in time",
        "A live worker did not say within WARM_TIMEOUT_S whether it can carry the configuration.",
        "It is overloaded, or its modules take long to load.",
        "Look at the worker's log; raise WARM_TIMEOUT_S when loading simply takes longer; activate again.",
    ),
    Code.ACTIVATION_REPLACED: Entry(
        "Replaced by a later activation",
        "A later request with `replace_pending`, or a rollback, took the place of this one.",
        "Somebody decided otherwise; the audit trail names both.",
        "Nothing to do.",
    ),
    Code.ACTIVATION_EXPIRED: Entry(
        "Running work did not end in time",
        "`max_wait_s` was over and the request said `on_expiry: cancel`. The old version stays active.",
        "A run took longer than the activation was to wait.",
        "Activate again with a longer `max_wait_s`, with `on_expiry: switch`, or in mode `rolling`.",
    ),
    Code.ACTIVATION_CANCELLED: Entry(
        "Cancelled by a person",
        "Somebody cancelled the activation. The old version stays active.",
        "The audit trail says who and why.",
        "Activate again when it is wanted.",
    ),
}

CONFIGURATIONS: Final[Mapping[Code, Entry]] = {
    Code.CONFIGURATION_INVALID: Entry(
        "The configuration does not fit",
        "Validation found errors; all of them are listed at once.",
        "Each finding has its own code, place and hint.",
        "Correct what the findings name and send it again. Nothing was stored or changed.",
    ),
    Code.CONFIGURATION_ALREADY_ACTIVE: Entry(
        "This configuration is active already",
        "The version, or one with the same content, is the active one.",
        "It was activated before.",
        "Nothing to do.",
    ),
    Code.CONFIGURATION_ILLEGAL_TRANSITION: Entry(
        "The configuration's status does not allow it",
        "The message names what is allowed in the present status.",
        "For example a draft that was not validated, or a rejected version.",
        "Validate a draft first; make a new version instead of a rejected one.",
    ),
    Code.CONFIGURATION_DIGEST_BLOCKED: Entry(
        "A rollback left this content",
        "The same content was active before and was left by a rollback, so it is not activated by mistake.",
        "It went wrong once; the audit trail says when.",
        "Activate with `unblock` when the reason is gone.",
    ),
    Code.CONFIGURATION_BASE_MOVED: Entry(
        "The active version is not the base any more",
        "The version was made from another one; activating it would undo the changes that the answer lists.",
        "Somebody activated another version in between.",
        "Make the change again on the active version, or activate with `accept_base_moved`.",
    ),
    Code.CONFIGURATION_LOCK_STALE: Entry(
        "The module lock is stale",
        "The installed code of a module is not the code that the version was made with.",
        "A package was upgraded since.",
        "Create the same content again to get a version with a new lock, or install the locked version.",
    ),
    Code.SELECTION_UNKNOWN_STAGE: Entry(
        "There is no such stage",
        "A selection or policy names a stage that the pipeline does not have.",
        "A typing error; the hint names the nearest stage.",
        "`switchgear stages list` shows all of them.",
    ),
    Code.SELECTION_UNKNOWN_MODULE: Entry(
        "There is no such module",
        "A selection or chain names a module that is not installed here.",
        "A typing error, or its package is not installed.",
        "`switchgear modules list` shows all; after an installation `switchgear modules rescan`.",
    ),
    Code.SELECTION_WRONG_STAGE: Entry(
        "The module belongs to another stage",
        "The module implements the contract of another stage.",
        "Two lines were mixed up.",
        "`switchgear stages show ID` lists the candidates of a stage.",
    ),
    Code.SELECTION_MISSING_STAGE: Entry(
        "A required stage has no module",
        "Each required stage needs a selection.",
        "The body is not partial and leaves a stage out.",
        "Add a selection, or give `base` to change only a part of another version.",
    ),
    Code.SELECTION_DUPLICATE: Entry(
        "A stage is named twice",
        "There can be one selection and one policy for each stage.",
        "Two lines for the same stage.",
        "Remove one of them.",
    ),
    Code.SELECTION_BAD_SETTINGS: Entry(
        "Settings or limits do not fit",
        "The settings do not match the module's settings schema, or a limit is out of range.",
        "The finding names the place; the value is not repeated, because it may be a secret.",
        "`switchgear modules show ID` prints the schema.",
    ),
    Code.SELECTION_UNAVAILABLE: Entry(
        "The selected module is unavailable",
        "The module cannot work here now. Whether that is an error depends on what covers it.",
        "The finding has the reason and the line that repairs it.",
        "Repair it, add a fallback or a terminal action `park` or `skip`, or use `accept_degraded`.",
    ),
    Code.SELECTION_DEPRECATED: Entry(
        "The module is deprecated",
        "The module still works, but its author advises another one.",
        "The finding repeats the author's words.",
        "Plan to select the module that it names.",
    ),
    Code.POLICY_CYCLE: Entry(
        "The chain leads back to itself",
        "A chain must not come back to a module that it has been at.",
        "The selected module is part of its own chain.",
        "Remove it from the chain.",
    ),
    Code.POLICY_REPEATED_MODULE: Entry(
        "A module is twice in a chain",
        "Each module is tried at most once for a stage.",
        "Two steps name the same module.",
        "Remove one of them.",
    ),
    Code.POLICY_UNAVAILABLE: Entry(
        "A fallback is unavailable",
        "A module of a chain cannot work here now; it would be passed over.",
        "The finding has the reason and the line that repairs it.",
        "Repair it before it is needed.",
    ),
    Code.CONTRACT_INCOMPATIBLE: Entry(
        "The module does not fit the contract",
        "What the module accepts or returns is not what the stage's contract says.",
        "The finding names the JSON path at which they differ.",
        "Use a version of the module that was made for this contract.",
    ),
    Code.CONTRACT_GUARANTEE_MISSING: Entry(
        "The module gives fewer guarantees",
        "The contract demands a guarantee that the module does not declare.",
        "The module was made for an older version of the contract, or does not promise it.",
        "Use another module, or ask its author.",
    ),
    Code.CONTRACT_UNPROVEN: Entry(
        "Compatibility could not be decided",
        "The schemas use something that the checker cannot compare; outputs are still checked at run time.",
        "For example a pattern or a recursion.",
        "Try it with `switchgear modules try`. UNPROVEN=error forbids such modules.",
    ),
    Code.SECRET_LITERAL: Entry(
        "A secret stands in the settings",
        "A secret field takes a reference, never the secret itself. The value was not stored.",
        "A key or password was pasted into the configuration.",
        "Put it into SWITCHGEAR_SECRET_NAME or a file and write `env:SWITCHGEAR_SECRET_NAME` or `file:NAME`.",
    ),
    Code.SECRET_UNVERIFIED: Entry(
        "The secret cannot be seen from here",
        "The reference is well-formed, but this process cannot tell whether the secret exists.",
        "It is given to the workers only, or it is missing.",
        "Make sure that the variable or file exists where the workers run.",
    ),
}

CHANGES: Final[Mapping[Code, Entry]] = {**MODULES, **ACTIVATIONS, **CONFIGURATIONS}
