"""Which files of the artifact store the rows name: for backups, and for what is removed. Source: DESIGN 5, 7."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Final

from switchgear.ingestion.run_repository.base import RepositoryPart

_AT_ONCE: Final = 500
_DOCUMENTS: Final = """
SELECT sha256 FROM documents WHERE sha256 > :after AND file_removed_at IS NULL ORDER BY sha256 LIMIT :limit"""
_OUTPUTS: Final = """
SELECT DISTINCT artifact_sha256 FROM stage_outputs WHERE artifact_sha256 > :after
ORDER BY artifact_sha256 LIMIT :limit"""
#: Files that a module saved stand in its output as `Blob`.
_SPEAKING: Final = """
SELECT run_id, stage_id, value FROM stage_outputs
WHERE value LIKE '%"sha256"%' AND (run_id > :run OR (run_id = :run AND stage_id > :stage))
ORDER BY run_id, stage_id LIMIT :limit"""
_BLOB: Final = re.compile(r'"sha256":\s*"([0-9a-f]{64})"')


def digests_in(text: str) -> Iterator[str]:
    """Yield the digests of files that a stage's output names."""
    for found in _BLOB.finditer(text):
        yield found[1]


class Files(RepositoryPart):
    """Digests of files, page by page; a long list needs no memory."""

    async def document_files(self) -> AsyncIterator[str]:
        """Yield the originals, in the order of their digests."""
        async for sha256 in self._digests(_DOCUMENTS):
            yield sha256

    async def output_files(self) -> AsyncIterator[str]:
        """Yield outputs that are kept as files, in the order of their digests."""
        async for sha256 in self._digests(_OUTPUTS):
            yield sha256

    async def _digests(self, sql: str) -> AsyncIterator[str]:
        after = ""
        while rows := await self._statements.scan(sql, {"after": after, "limit": _AT_ONCE}):
            for row in rows:
                yield str(row[0])
            after = str(rows[-1][0])

    async def saved_files(self) -> AsyncIterator[str]:
        """Yield what outputs in rows name as files that a module saved; one may come more than once."""
        run = stage = ""
        while rows := await self._statements.scan(_SPEAKING, {"run": run, "stage": stage, "limit": _AT_ONCE}):
            for row in rows:
                for sha256 in digests_in(row[2]):
                    yield sha256
            run, stage = rows[-1][0], rows[-1][1]

    async def named(self, digests: Iterable[str]) -> set[str]:
        """Return those of *digests* that are an original or an output."""
        every, found = sorted(digests), set[str]()
        for start in range(0, len(every), _AT_ONCE):
            names = {f"f{number}": sha256 for number, sha256 in enumerate(every[start : start + _AT_ONCE])}
            wanted = ", ".join(f":{name}" for name in names)
            rows = await self._statements.scan(
                f"""SELECT sha256 FROM documents WHERE sha256 IN ({wanted}) AND file_removed_at IS NULL
                UNION SELECT artifact_sha256 FROM stage_outputs WHERE artifact_sha256 IN ({wanted})""",  # noqa: S608
                names,
            )
            found |= {str(row[0]) for row in rows}
        return found

    async def count_files(self) -> int:
        """Return how many originals and outputs are kept as files."""
        (row,) = await self._statements.scan(
            """SELECT (SELECT count(*) FROM documents WHERE file_removed_at IS NULL),
            (SELECT count(DISTINCT artifact_sha256) FROM stage_outputs WHERE artifact_sha256 IS NOT NULL)"""
        )
        return int(row[0]) + int(row[1])

    async def totals(self) -> dict[str, int]:
        """Return how many documents, runs, configurations and audit entries there are."""
        tables = {
            "documents": "documents",
            "runs": "runs",
            "configurations": "module_configurations",
            "audit_entries": "configuration_change_events",
        }
        counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in tables.values())  # noqa: S608
        (row,) = await self._statements.scan(f"SELECT {counts}")
        return dict(zip(tables, (int(count) for count in row), strict=True))
