"""The folder of documents, shared by machines: whose it is, and what happens where another one is mounted."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from switchgear.core.database import Database, ReadOnly, Statement
from switchgear.core.unit_of_work import Units
from switchgear.ingestion.artifact_folder import MARKER, ArtifactFolder, ArtifactsElsewhere
from switchgear.ingestion.artifact_store import ArtifactStore

pytestmark = pytest.mark.anyio


class Machine:
    """A process that is given a folder."""

    def __init__(self, units: Units, folder: Path) -> None:
        self.folder = folder
        self.store = ArtifactStore(folder)
        self.ours = ArtifactFolder(units, folder)

    async def start(self) -> Machine:
        await self.store.start()
        await self.ours.claim()
        return self

    @property
    def marker(self) -> Path:
        return self.folder / MARKER


async def test_machines_that_share_the_folder_all_find_it_theirs(units: Units, tmp_path: Path) -> None:
    first = await Machine(units, tmp_path / "shared").start()
    (tmp_path / "link").symlink_to(tmp_path / "shared")
    second = await Machine(units, tmp_path / "link").start()
    assert first.marker.read_text() == second.marker.read_text()
    assert await second.ours.look() is None


async def test_another_folder_is_refused_in_one_sentence_and_left_alone(units: Units, tmp_path: Path) -> None:
    await Machine(units, tmp_path / "shared").start()
    with pytest.raises(ArtifactsElsewhere, match=r"other is not the folder .* missing.* ARTIFACTS_DIR") as refusal:
        await Machine(units, tmp_path / "other").start()
    assert refusal.value.code == "system.artifacts_elsewhere"
    assert not (tmp_path / "other" / MARKER).exists()


async def test_the_sentence_says_how_a_lost_marker_is_written_again(units: Units, tmp_path: Path) -> None:
    machine = await Machine(units, tmp_path / "shared").start()
    machine.marker.unlink()
    with pytest.raises(ArtifactsElsewhere) as refusal:
        await machine.ours.claim()
    process = await asyncio.create_subprocess_shell(str(refusal.value).rpartition("write it anew: ")[2])
    assert await process.wait() == 0
    await machine.ours.claim()


async def test_a_folder_of_another_instance_is_refused_also_by_a_new_one(units: Units, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / MARKER).write_text("ins_another art_another\n")
    with pytest.raises(ArtifactsElsewhere, match="belongs to another instance"):
        await Machine(units, tmp_path / "shared").start()
    machine = await Machine(units, tmp_path / "own").start()
    machine.marker.write_text("ins_another art_another\n")
    with pytest.raises(ArtifactsElsewhere, match="belongs to another instance"):
        await machine.ours.claim()


async def test_whoever_was_killed_after_the_marker_goes_on_with_it(
    units: Units, database: Database, tmp_path: Path
) -> None:
    machine = await Machine(units, tmp_path / "shared").start()
    before = machine.marker.read_text()
    await database.narrow.run(Statement("UPDATE instance SET artifacts_id = NULL"))
    await machine.ours.claim()
    assert machine.marker.read_text() == before


async def test_of_two_that_start_together_with_different_folders_one_is_refused(units: Units, tmp_path: Path) -> None:
    machines = [Machine(units, tmp_path / name) for name in ("one", "two")]
    ends = await asyncio.gather(*(machine.start() for machine in machines), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["ArtifactsElsewhere", "Machine"]


async def test_a_mount_that_is_lost_meanwhile_is_noticed_and_so_is_its_return(units: Units, tmp_path: Path) -> None:
    machine = await Machine(units, tmp_path / "shared").start()
    machine.folder.rename(tmp_path / "away")
    machine.folder.mkdir()
    with capture_logs() as logs:
        for _ in range(2):
            why = await machine.ours.look()
            assert why is not None
            assert why.code == "system.artifacts_elsewhere"
    assert [line["event"] for line in logs] == ["artifacts.lost"]
    machine.folder.rmdir()
    (tmp_path / "away").rename(machine.folder)
    with capture_logs() as logs:
        assert await machine.ours.look() is None
    assert [line["event"] for line in logs] == ["artifacts.regained"]


async def test_a_document_is_not_taken_while_the_mount_is_lost(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "shared")
    await store.start()
    shutil.rmtree(tmp_path / "shared")
    with pytest.raises(ReadOnly, match="not there"):
        await store.put_bytes(b"hello")


# --- what the file system must be able to do ---


async def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ReadOnly, match=r"file/artifacts cannot be used: Not a directory.*ARTIFACTS_DIR"):
        await ArtifactStore(tmp_path / "file" / "artifacts").start()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no second file system")
async def test_a_folder_in_which_files_cannot_be_renamed_into_place_is_refused(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        (tmp_path / "tmp").symlink_to(elsewhere)
        with pytest.raises(ReadOnly, match="cannot be used: Invalid cross-device link"):
            await ArtifactStore(tmp_path).start()
        assert list(Path(elsewhere).iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]
