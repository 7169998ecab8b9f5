"""Good modules of the stage send."""

import json
from pathlib import Path

from switchgear.sdk import Context, Module, ModuleSettings, Requires, module
from switchgear_tiny.contracts import Checked, Receipt


class SendSettings(ModuleSettings):
    """Where it goes."""

    folder: str = ""  #: empty: nowhere, only a receipt
    target: str = "folder"


def send(settings: SendSettings, checked: Checked, ctx: Context, by: str) -> Receipt:
    """Write one file per key; append every call to `calls.jsonl`, so that a test can count effects."""
    key = ctx.idempotency_key(settings.target)
    if settings.folder:
        folder = Path(settings.folder)
        with (folder / "calls.jsonl").open("a") as calls:
            calls.write(json.dumps({"key": key, "by": by, "run": ctx.run_id, "attempt": ctx.attempt}) + "\n")
        (folder / f"{key}.json").write_text(checked.model_dump_json())
    return Receipt(target=settings.target, key=key)


@module(stage="send", contract="tiny-send@1", version="1.0.0", requires=Requires(writes=("settings:/folder",)))
class SendFile(Module):
    """Writes the result into a folder."""

    class Settings(SendSettings):
        """Where it goes."""

    settings: Settings

    def run(self, checked: Checked, ctx: Context) -> Receipt:
        return send(self.settings, checked, ctx, "send-file")


@module(stage="send", contract="tiny-send@1", version="1.0.0", requires=Requires(writes=("settings:/folder",)))
class SendOther(Module):
    """Writes the result into a folder, too."""

    class Settings(SendSettings):
        """Where it goes."""

    settings: Settings

    def run(self, checked: Checked, ctx: Context) -> Receipt:
        return send(self.settings, checked, ctx, "send-other")
