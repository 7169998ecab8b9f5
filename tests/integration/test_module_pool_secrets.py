"""A secret reaches the module that names it, in a process or inline, and no log, output, file or environment."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from factories.module_processes import BYTES, ON_LINUX, SECRET, Desk, output
from factories.plugin import write_distribution
from switchgear.domain.configuration import canonical_json
from switchgear.domain.errors import Code
from switchgear.domain.run import Outcome
from switchgear.ingestion.module_pool import ModuleUse
from switchgear.ingestion.module_pool.redaction import Redactor
from switchgear.sdk import StageLimits
from switchgear.sdk.host.context import delivery_key, delivery_series

pytestmark = [pytest.mark.anyio, ON_LINUX]


async def test_a_secret_reaches_the_module_and_nothing_else(desk: Desk) -> None:
    settings = canonical_json({"token": "env:SWITCHGEAR_SECRET_TINY"})
    pointers = ("/token", "/nested/token", "/several/*")
    use = ModuleUse("upper-secret", settings, StageLimits(), secret_pointers=pointers)
    fingerprint = hashlib.sha256(SECRET.encode()).hexdigest()[:8].upper()

    assert output(await desk.run(use))["text"] == f"HELLO {fingerprint}"
    for pid in desk.processes():
        assert SECRET.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert SECRET not in json.dumps(desk.logs)


async def test_a_missing_secret_is_named_by_its_reference(desk: Desk) -> None:
    settings = canonical_json({"token": "file:absent", "several": ["env:SWITCHGEAR_SECRET_TINY"]})
    use = ModuleUse("upper-secret", settings, StageLimits(), secret_pointers=("/token", "/several/*"))
    lack = await desk.warm(use)

    assert lack is not None
    assert (lack.code, "file:absent" in lack.message) == (Code.SECRET_UNVERIFIED, True)
    assert SECRET not in lack.message


#: An inline module that uses all of its context.
INLINE = """
from switchgear.sdk import Blob, Context, Module, ModuleSettings, SecretRef, WarmContext, module
from switchgear_tiny.contracts import Text

@module(stage="load", contract="tiny-load@1", version="1.0.0", min_isolation="L0")
class Busy(Module):
    class Settings(ModuleSettings):
        token: SecretRef

    settings: Settings

    def open(self, ctx: WarmContext) -> None:
        self.secret = ctx.secret(self.settings.token)

    def run(self, blob: Blob, ctx: Context) -> Text:
        ctx.log.warning("seen.secret", text=f"it is {self.secret}")
        kept = ctx.scratch / "page.png"
        kept.write_bytes(blob.path.read_bytes())
        saved = ctx.save(kept, "image/png")
        if blob.path.suffix.lower() == ".bad":
            raise ValueError(f"{self.secret} is wrong")
        keys = f"{ctx.idempotency_key('t')} {ctx.delivery_series('t')}"
        return Text(text=f"{saved.size_bytes} {ctx.attempt} {ctx.remaining_s() > 0} {keys}")
"""


async def test_an_inline_module_has_the_whole_context_and_its_secret_goes_nowhere(desk: Desk, site: Path) -> None:
    (site / "busy.py").write_text(INLINE)
    write_distribution(site, "busy", "1", {"load-busy": "busy:Busy"})
    settings = canonical_json({"token": "env:SWITCHGEAR_SECRET_TINY"})
    use = ModuleUse("load-busy", settings, StageLimits(), level="L0", secret_pointers=("/token",))
    bad = replace(desk.call(), document=replace(desk.document, file_name="x.bad"))

    base = "bytes\0result"
    good = await desk.run(use, delivery_base=base)
    failed = await desk.pools.call(use, bad)

    keys = f"{delivery_key(base, 't')} {delivery_series('bytes', 't')}"
    assert good.output.text == f"{len(BYTES)} 1 True {keys}"
    assert desk.artifacts[0] == (BYTES, "image/png")
    assert (failed.outcome, failed.message) == (Outcome.ERROR, "[secret] is wrong")
    assert SECRET not in json.dumps(desk.logs)
    assert any(record["event"] == "seen.secret" for record in desk.logs)


#: A module that gives its secret away.
LEAKY = INLINE.replace("class Busy", "class Leaky").replace(
    "ctx.log.warning", "return Text(text=self.secret)\n        ctx.log.warning"
)


#: A module that saves a file with its secret, across the border of two reads.
SAVING = INLINE.replace("class Busy", "class Saving").replace(
    "kept.write_bytes(blob.path.read_bytes())", "kept.write_bytes(bytes(2**20 - 3) + self.secret.encode())"
)


@pytest.mark.parametrize("level", ["L0", "L1"])
async def test_an_output_that_holds_a_secret_is_dropped(desk: Desk, site: Path, level: Literal["L0", "L1"]) -> None:
    (site / "leaky.py").write_text(LEAKY)
    write_distribution(site, "leaky", "1", {"load-leaky": "leaky:Leaky"})
    settings = canonical_json({"token": "env:SWITCHGEAR_SECRET_TINY"})
    use = ModuleUse("load-leaky", settings, StageLimits(), level=level, secret_pointers=("/token",))
    result = await desk.run(use)

    assert (result.outcome, result.detail, result.output) == (Outcome.CONTRACT_VIOLATION, "secret_in_output", None)


@pytest.mark.parametrize("level", ["L0", "L1"])
async def test_a_file_that_holds_a_secret_is_not_kept(desk: Desk, site: Path, level: Literal["L0", "L1"]) -> None:
    (site / "saving.py").write_text(SAVING)
    write_distribution(site, "saving", "1", {"load-saving": "saving:Saving"})
    settings = canonical_json({"token": "env:SWITCHGEAR_SECRET_TINY"})
    use = ModuleUse("load-saving", settings, StageLimits(), level=level, secret_pointers=("/token",))
    result = await desk.run(use)

    assert desk.artifacts == []
    assert result.outcome is Outcome.ERROR
    assert "holds a secret" in result.message


def test_secrets_are_taken_out_of_nested_data_in_every_spelling() -> None:
    redactor = Redactor(['a"quoted" secret', "short"])

    assert redactor.plain({"x": ['<a"quoted" secret>', 7], "y": 'a\\"quoted\\" secret'}) == {
        "x": ["<[secret]>", 7],
        "y": "[secret]",
    }
    assert redactor.text("short values would be found by chance") == "short values would be found by chance"
    assert redactor.finds_in(b'{"t":"a\\"quoted\\" secret"}')
