"""Does everything one side sends fit what the other side accepts? Decided from two JSON Schemas, before anything runs.

The producer's schema is Pydantic's *serialization* schema, the consumer's its *validation* schema (JSON Schema
2020-12). The answer is `compatible` only when that is proven; `incompatible` when the structure shows a value that may
be sent and would be refused; `unknown` in every other case. Pure and bounded: no I/O, at most `COMPARISON_LIMIT`
comparisons.

Source: DESIGN §3 "Compatibility".
"""

from switchgear.domain.compatibility.checker import schema_within
from switchgear.domain.compatibility.document import COMPARISON_LIMIT
from switchgear.domain.compatibility.verdict import Compatibility, Reason, Verdict

__all__ = ["COMPARISON_LIMIT", "Compatibility", "Reason", "Verdict", "schema_within"]
