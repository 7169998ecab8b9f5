"""What the README, the tutorial and the API notes tell a reader to type does what they say, on a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from factories.markdown import ROOT, Block, Step, blocks, steps
from factories.plugin import write_distribution
from factories.transcript import Transcript

README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial" / "first-module.md"
QUICKSTART = ROOT / "specs" / "001-resilient-config" / "quickstart.md"
BREAK_IT = ROOT / "docs" / "tutorial" / "break-it.md"
SAMPLES = ROOT / "src" / "switchgear" / "invoice" / "samples"


#: Pages of single commands for operators; those of PostgreSQL need a server of their own.
GUIDES = [
    ROOT / "docs" / "resilient-configuration.md",
    ROOT / "docs" / "how-to" / "roll-back.md",
    ROOT / "docs" / "how-to" / "read-why.md",
    ROOT / "docs" / "how-to" / "back-up-and-restore.md",
]


def session(page: Path) -> list[Step]:
    """The commands of a page, without those that install or test the project itself."""
    given = [step for block in blocks(page) if block.language == "console" for step in steps(block)]
    return [step for step in given if not step.command.startswith(("make ", "pip "))]


def test_the_session_of_the_readme_happens_as_printed(tmp_path: Path) -> None:
    (preparation,) = [block.text for block in blocks(README) if block.language == "bash"]
    home = {**os.environ, "HOME": str(tmp_path)}
    subprocess.run(["bash", "-ec", preparation], cwd=ROOT, env=home, check=True)
    (folder,) = tmp_path.iterdir()
    wrong = (folder / "invoices" / "wrong-total.xml").read_text()
    assert wrong.count("999.99") == wrong.count("2024-7") == 1
    given = session(README)
    shown = " ".join(step.command for step in given)
    for promised in (
        "serve",
        "ingest",
        "config set",
        "activations watch",
        "runs why",
        "config rollback",
        "audit verify",
    ):
        assert f"switchgear {promised}" in shown
    with Transcript(folder) as transcript:
        transcript.play(given)


def test_the_module_of_the_readme_keeps_the_rules(tmp_path: Path) -> None:
    (block,) = [each for each in blocks(README) if each.language == "python"]
    assert len([line for line in block.text.splitlines() if line.strip()]) <= 15
    (tmp_path / "review_credit.py").write_text(block.text)
    (tmp_path / "test_review_credit.py").write_text(
        "from review_credit import ReviewCredit\n"
        "from switchgear.invoice.testing import sample_invoice\n"
        "from switchgear.sdk.testing import ModuleContractTests\n\n\n"
        "class TestReviewCredit(ModuleContractTests):\n"
        "    module = ReviewCredit\n"
        "    samples = [sample_invoice()]\n"
    )
    run_pytest(tmp_path, "test_review_credit.py")


def run_pytest(folder: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", name],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def written(page: Path, folder: Path) -> dict[str, Block]:
    """Write the files that a page shows; return its blocks by name."""
    files = {block.file: block for block in blocks(page) if block.file is not None}
    for name, block in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
    return files


def test_the_tutorial_happens_as_printed(tmp_path: Path) -> None:
    files = written(TUTORIAL, tmp_path)
    project = tomllib.loads(files["pyproject.toml"].text)["project"]
    # what `pip install .` writes, without a package index
    write_distribution(tmp_path, project["name"], project["version"], project["entry-points"]["switchgear.modules"])
    billing = tmp_path / "billing"
    with Transcript(tmp_path, site=[tmp_path]) as transcript:
        for step in session(TUTORIAL):
            transcript.play([step])
            if step.command == "cd billing":
                shutil.copy(SAMPLES / "hybrid-en16931.pdf", billing / "invoice.pdf")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_requests_of_the_quickstart_are_answered(tmp_path: Path) -> None:
    with Transcript(tmp_path) as transcript:
        transcript.play(session(QUICKSTART))
        activation = ""
        for block in blocks(QUICKSTART):
            if block.language != "bash":
                continue
            for command in re.split(r"\n(?=curl|export)", block.text.strip()):
                printed = transcript.run(transcript.real(command).replace("act_...", activation))
                if command.startswith("export"):
                    continue
                answer = "\n".join(printed)
                status = re.search(r"^HTTP/1.1 (\d+)", answer)
                assert '"type":"/problems/' not in answer.replace(" ", ""), f"{command}\n{answer}"
                assert status is None or status[1] == "202", f"{command}\n{answer}"
                if "activate" in command:
                    activation = re.findall(r"act_[0-9a-z]{26}", answer)[0]
                elif status is None and "yaml" not in command:
                    json.loads(answer)


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Transcript]:
    """An instance with four versions and a run, as the guides suppose."""
    folder = tmp_path_factory.mktemp("guides")
    shutil.copy(SAMPLES / "xrechnung-ubl.xml", folder / "invoice.xml")
    with Transcript(folder) as transcript:
        transcript.play([Step("switchgear serve", ("...", "deliver ...", "..."))])
        for seconds in (51, 52, 53):
            changed = f"switchgear config set extract=extract-text extract.limits.timeout_s={seconds}"
            transcript.run(f'{changed} -m "Before the guide" --activate')
            transcript.run("switchgear activations watch")
        transcript.run("switchgear ingest invoice.xml --wait")
        (run,) = json.loads("\n".join(transcript.run("switchgear runs list --json")))
        transcript.bound["run_01kq7m3v9x0a4s8d2f6g1h5j9k"] = run["id"]
        yield transcript


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_the_commands_of_the_guides_do_something(operated: Transcript, page: Path) -> None:
    for step in session(page):
        command = operated.real(step.command)
        *printed, code = operated.run(f"{command} 2>&1; echo $?")
        said = "\n".join(printed)
        assert code in ("0", "1"), f"$ {command}\n{said}"
        assert not re.search(r"Traceback|unexpected error|did you mean", said, re.IGNORECASE), f"$ {command}\n{said}"


def test_the_tutorial_of_failures_happens_as_printed(tmp_path: Path) -> None:
    files = written(BREAK_IT, tmp_path)
    project = tomllib.loads(files["pyproject.toml"].text)["project"]
    plant = tmp_path / "plant"

    def install() -> Path:
        written(BREAK_IT, tmp_path)
        modules = project["entry-points"]["switchgear.modules"]
        return write_distribution(tmp_path, project["name"], project["version"], modules)

    described = install()
    with Transcript(tmp_path, site=[tmp_path]) as transcript:
        for step in session(BREAK_IT):
            if "Where is it?" in step.command:
                shutil.rmtree(tmp_path / "switchgear_slow")
                shutil.rmtree(described)
            elif "Back again" in step.command:
                install()
            transcript.play([step])
            if step.command == "cd plant":
                shutil.copy(SAMPLES / "hybrid-en16931.pdf", plant / "invoice.pdf")
                shutil.copy(SAMPLES / "xrechnung-ubl.xml", plant / "other.xml")
