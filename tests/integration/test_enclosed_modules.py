"""Level L2: what a module did not declare is refused; at L1 it succeeds, so that a refusal is the measure's."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest
from pydantic import ValidationError

from factories.enclosure import Bench
from factories.isolation import needs
from switchgear.domain.configuration import canonical_json
from switchgear.domain.errors import Code
from switchgear.ingestion.module_pool import ModuleUse
from switchgear.sdk import Requires, StageLimits

pytestmark = pytest.mark.anyio


# --- files ---

FILES = [
    "read /etc/passwd",
    "read_in_child /etc/passwd",
    "read {home}/switchgear.db",
    "read {home}/admin.token",
    "read {home}/artifacts/another",
    "read {home}/artifacts/original",  # its own document, by the back door
    "list {outside}",
    "link {home}/artifacts/original",
    "write {outside}/new.txt",
    "append {outside}/notes.txt",
    "truncate {outside}/notes.txt",
    "write {home}/out/result.json",
    "move {outside}/notes.txt",
    "unlink {outside}/notes.txt",
]


@pytest.mark.parametrize("deed", FILES)
async def test_a_file_that_was_not_declared_is_out_of_reach(bench: Bench, deed: str) -> None:
    needs("files_enclosed", "sockets_refused")
    said = deed.format(home=bench.home, outside=bench.outside)

    refused, first = await bench.reach(said)
    after, second = await bench.reach("nothing")
    allowed, _ = await bench.reach(said, level="L1")

    assert refused == "refused"
    assert (after, first == second) == ("nothing", True), "the same process serves the next call"
    assert allowed != "refused"


async def test_a_program_that_was_not_declared_does_not_run(bench: Bench) -> None:
    needs("files_enclosed", "sockets_refused")
    program = shutil.which("true")
    assert program is not None

    assert (await bench.reach(f"run {program}"))[0] == "refused"
    assert (await bench.reach(f"run {program}", reads=("true",)))[0] == ""


async def test_a_file_that_was_declared_is_read_and_not_written(bench: Bench) -> None:
    needs("files_enclosed", "sockets_refused")
    notes = str(bench.outside / "notes.txt")

    assert (await bench.reach(f"read {notes}", reads=(notes,)))[0] == "not"
    assert (await bench.reach(f"append {notes}", reads=(notes,)))[0] == "refused"


async def test_a_folder_that_was_declared_is_made_and_written_but_nothing_there_is_run(bench: Bench) -> None:
    needs("files_enclosed", "sockets_refused")
    folder = bench.outside / "new" / "folder"
    use: dict[str, Any] = {
        "settings": canonical_json({"folder": str(folder)}),
        "writes": ("$SWITCHGEAR_OUT", "$SWITCHGEAR_OUT/../spool", "settings:/folder", "settings:/other", "$UNSET"),
    }

    for path in (folder / "a", bench.home / "out" / "b", bench.home / "spool" / "c"):
        assert (await bench.reach(f"write {path}", **use))[0] == "1"
        assert path.read_text() == "x"
    assert (await bench.reach(f"read {bench.home}/admin.token", **use))[0] == "refused"
    shutil.copy(bench.outside / "hello", folder / "hello")
    assert (await bench.reach(f"run {folder}/hello", **use))[0] == "refused"


async def test_a_folder_that_was_replaced_is_written_by_a_new_process(bench: Bench) -> None:
    needs("files_enclosed", "sockets_refused")
    use: dict[str, Any] = {"writes": ("$SWITCHGEAR_OUT",)}
    _, first = await bench.reach(f"write {bench.home}/out/a", **use)
    (bench.home / "out").rename(bench.home / "out-of-last-month")

    said, second = await bench.reach(f"write {bench.home}/out/a", **use)

    assert said == "1"
    assert first != second


@pytest.mark.parametrize("stands", ["a link to nothing", "a file"])
async def test_a_folder_that_could_not_be_made_is_written_as_soon_as_it_can_be(bench: Bench, stands: str) -> None:
    """As a share that is mounted later: the process that was forked without it has no right to it."""
    needs("files_enclosed", "sockets_refused")
    out, share = bench.outside / "out", bench.outside / "share"
    use: dict[str, Any] = {"settings": canonical_json({"folder": str(out)}), "writes": ("settings:/folder",)}
    if stands == "a file":
        out.write_text("")
    else:
        out.symlink_to(share)
    await bench.reach("nothing", **use)  # the process that is kept for the next call

    if stands == "a file":
        out.unlink()
        out.mkdir()
    else:
        share.mkdir()

    assert (await bench.reach(f"write {out}/a", **use))[0] == "1"
    assert (out / "a").read_text() == "x"
    _, first = await bench.reach(f"write {out}/b", **use)
    _, second = await bench.reach(f"write {out}/c", **use)
    assert first == second  # and then it stays


@pytest.mark.parametrize("folder", ["{home}", "{home}/artifacts", "/", "{home}/scratch/new"])
async def test_a_module_that_declares_to_write_the_instances_own_is_refused(bench: Bench, folder: str) -> None:
    needs("files_enclosed", "sockets_refused")
    settings = canonical_json({"folder": folder.format(home=bench.home)})
    use = ModuleUse("upper-reach", settings, StageLimits(), level="L2", writes=("settings:/folder",))

    lack = await bench.pools.warm(use)

    assert lack is not None
    assert (lack.code, "keeps its own data" in lack.message) == (Code.MODULE_ISOLATION, True)


# --- network, signals ---


@pytest.mark.parametrize("deed", ["connect", "send", "speak", "listen", "ring"])
async def test_a_socket_is_refused_unless_the_network_was_declared(
    bench: Bench, listening: dict[str, str], deed: str
) -> None:
    needs("files_enclosed", "sockets_refused")
    said = f"{deed} {listening.get(deed, '')}"

    refused, first = await bench.reach(said)
    _, second = await bench.reach("nothing")

    assert (refused, first == second) == ("refused", True)
    if deed == "ring":  # not every machine offers it
        return
    assert (await bench.reach(said, level="L1"))[0] in ("connected", "sent", "bound")
    assert (await bench.reach(said, network=True))[0] in ("connected", "sent", "bound")


async def test_a_module_that_declared_the_network_still_gets_at_no_file(bench: Bench) -> None:
    needs("files_enclosed")

    assert (await bench.reach("read /etc/hosts", network=True))[0] != "refused"
    assert (await bench.reach(f"read {bench.home}/admin.token", network=True))[0] == "refused"


async def test_a_pair_of_sockets_for_an_event_loop_is_left(bench: Bench) -> None:
    needs("files_enclosed", "sockets_refused")

    assert (await bench.reach("pair"))[0] == "2"


async def test_processes_outside_get_no_signal_and_show_nothing(bench: Bench) -> None:
    needs("files_enclosed", "sockets_refused")
    server = os.getpid()

    assert (await bench.reach(f"read /proc/{server}/environ"))[0] == "refused"
    assert (await bench.reach(f"read /proc/{server}/cmdline"))[0] == "refused"
    needs("signals_enclosed")
    assert (await bench.reach(f"signal {server}"))[0] == "refused"
    assert (await bench.reach(f"signal {server}", level="L1"))[0] == "None"


# --- the declaration ---


@pytest.mark.parametrize("item", ["/srv/out", "out", "$out", "settings:folder", "settings:/", "$SWITCHGEAR_OUT/", ""])
def test_a_folder_to_write_is_named_by_a_variable_or_a_setting(item: str) -> None:
    with pytest.raises(ValidationError):
        Requires(writes=(item,))


def test_a_folder_is_not_named_by_a_variable_that_the_module_does_not_get() -> None:
    with pytest.raises(ValidationError, match="ACME_FOLDER: add it to environment"):
        Requires(writes=("$ACME_FOLDER",))
    assert Requires(writes=("$ACME_FOLDER/x",), environment=("ACME_FOLDER",)).writes == ("$ACME_FOLDER/x",)
