"""What the API answers, as the command line gets it."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

ACTIVE: Json = {
    "id": "cfg_1",
    "pipeline": "invoice",
    "message": "because: of # this",
    "selections": [
        {"stage_id": "read", "module_id": "read-a", "settings": {"pages": 3}, "limits": {"timeout_s": 5}},
        {"stage_id": "extract", "module_id": "extract-a", "settings": {}, "limits": {}},
    ],
    "fallback_policies": [
        {
            "stage_id": "read",
            "chain": [{"module_id": "read-b", "settings": {"fast": True}, "on": ["error"], "threshold": None}],
            "then": "park",
            "budget_s": None,
        }
    ],
}
