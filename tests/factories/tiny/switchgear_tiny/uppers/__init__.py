"""Modules of the stage upper that lack something, ask for something, or do not fit."""

import hashlib

from pydantic import Field

from switchgear.sdk import Context, Module, ModuleSettings, RequiredFile, Requires, SecretRef, WarmContext, module
from switchgear.sdk.values import Frozen
from switchgear_tiny.contracts import Text, Upper

_BOTH = {"is_upper", "keeps_length"}


class _Upper(Module):
    def run(self, text: Text) -> Upper:
        return Upper(text=text.text.upper())


@module(stage="upper", contract="tiny-upper@1", version="0.9.0", guarantees=_BOTH, deprecated="Use upper-text.")
class UpperOld(_Upper):
    """Deprecated, works."""


@module(
    stage="upper",
    contract="tiny-upper@1",
    version="1.0.0",
    guarantees=_BOTH,
    requires=Requires(
        binaries=("switchgear-no-such-binary",),
        network=("localhost:9",),
        install="apt-get install switchgear-no-such-binary",
    ),
)
class UpperNoBinary(_Upper):
    """Needs a program that is nowhere."""


@module(
    stage="upper",
    contract="tiny-upper@1",
    version="1.0.0",
    guarantees=_BOTH,
    requires=Requires(packages=("switchgear-no-such-package>=2",)),
)
class UpperNoPackage(_Upper):
    """Needs a package that is not installed."""


@module(
    stage="upper",
    contract="tiny-upper@1",
    version="1.0.0",
    guarantees=_BOTH,
    requires=Requires(files=(RequiredFile(path="/nowhere/model.bin", install="fetch-model /nowhere/model.bin"),)),
)
class UpperNoFile(_Upper):
    """Needs a file that is nowhere."""


@module(
    stage="upper",
    contract="tiny-upper@1",
    version="1.0.0",
    guarantees=_BOTH,
    requires=Requires(environment=("SWITCHGEAR_TINY_REGION",)),
)
class UpperEnvironment(Module):
    """Needs a variable and appends it."""

    def run(self, text: Text) -> Upper:
        import os

        return Upper(text=f"{text.text.upper()} {os.environ['SWITCHGEAR_TINY_REGION'].upper()}")


@module(
    stage="upper",
    contract="tiny-upper@1",
    version="1.0.0",
    guarantees=_BOTH,
    requires=Requires(memory_mb=1 << 30),
)
class UpperNoMemory(_Upper):
    """Needs a pebibyte."""


@module(stage="upper", contract="tiny-upper@1", version="1.0.0", guarantees=_BOTH, min_isolation="L3")
class UpperSandboxed(_Upper):
    """Demands more isolation than there is."""


@module(stage="upper", contract="tiny-upper@1", version="1.0.0", guarantees={"is_upper"})
class UpperUnguaranteed(_Upper):
    """Lacks a guarantee of the contract."""


@module(stage="upper", contract="tiny-upper@2", version="1.0.0", guarantees=_BOTH)
class UpperTwo(_Upper):
    """Asks for the next major version of the contract."""


class Narrow(Frozen):
    """An output that is not the contract's."""

    text: int


@module(stage="upper", contract="tiny-upper@1", version="1.0.0", guarantees=_BOTH)
class UpperMisfit(Module):
    """Gives a number where the contract has text."""

    def run(self, text: Text) -> Narrow:
        return Narrow(text=len(text.text))


class _Nested(Frozen):
    token: SecretRef


@module(stage="upper", contract="tiny-upper@1", version="1.0.0", guarantees=_BOTH)
class UpperSecret(Module):
    """Appends a fingerprint of its secret, never the secret."""

    class Settings(ModuleSettings):
        """A secret by reference, a nested one, several, and a repeat count with bounds."""

        token: SecretRef
        nested: _Nested | None = None
        several: tuple[SecretRef, ...] = ()
        repeat: int = Field(1, ge=1, le=9, description="How often the fingerprint is appended.")

    settings: Settings

    def open(self, ctx: WarmContext) -> None:
        self.fingerprint = hashlib.sha256(ctx.secret(self.settings.token).encode()).hexdigest()[:8].upper()

    def run(self, text: Text, ctx: Context) -> Upper:
        return Upper(text=" ".join([text.text.upper()] + [self.fingerprint] * self.settings.repeat))
