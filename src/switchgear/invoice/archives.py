"""ZIP archives and OLE2 files: spreadsheets in disguise, or containers that are not opened yet.

Source: INVOICES.md (classify), RELIABILITY (zip bombs).
"""

import io
import re
import stat
import zipfile
import zlib
from typing import Final

from switchgear.invoice.types import Kind, Media
from switchgear.sdk import InputRejected, Limits

XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ODS: Final = "application/vnd.oasis.opendocument.spreadsheet"
XLS: Final = "application/vnd.ms-excel"

_MOST_MEMBERS: Final = 10_000
#: How each entry of the list of members begins.
_ENTRY: Final = b"PK\x01\x02"
#: An absolute name, one with a drive, or one that climbs.
_OUTSIDE: Final = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)")
#: Unpacked over packed size above which a large archive is taken for a bomb; sheets reach 50.
_BOMB_RATIO: Final = 200
_BOMB_BYTES: Final = 50 * 1024 * 1024
#: Streams in an OLE2 directory (UTF-16) -> what the file is.
_WORKBOOK: Final = tuple(name.encode("utf-16-le") for name in ("Workbook", "Book"))
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")
_OUTLOOK: Final = "__substg1.0_".encode("utf-16-le")


def inspect_archive(data: bytes, limits: Limits) -> Kind:
    """Say which spreadsheet a ZIP archive is.

    Raises:
        InputRejected: `corrupt`, `truncated`, `encrypted`, `unpacked_size`, `unsupported`; `container_unsupported` for
            a plain archive.
    """
    _refuse_long_list(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _refuse_bomb(members, len(data), limits)
            _refuse_escape(members)
            return _spreadsheet(archive, {member.filename for member in members})
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeError) as error:
        raise InputRejected(
            "truncated", "The archive (or office file) is incomplete or damaged. Send a complete copy."
        ) from error
    except NotImplementedError as error:  # zipfile's way to say that it does not know how a member is packed
        raise InputRejected(
            "unsupported", "The office file is packed in a way that is not read here. Save it again, or send it as PDF."
        ) from error
    except RuntimeError as error:  # zipfile's way to say that a member needs a password
        raise InputRejected("encrypted", "The archive needs a password. Send a copy without a password.") from error


def _refuse_long_list(data: bytes) -> None:
    """Refuse an archive of too many members before their list is read: each becomes an object of half a kilobyte.

    What the archive says of their number may be a lie; each entry of the list begins with its mark.
    """
    count = data.count(_ENTRY)
    if count > _MOST_MEMBERS:
        raise _not_opened("unpacked_size", f"it holds {count} files; the limit is {_MOST_MEMBERS}")


def _refuse_bomb(members: list[zipfile.ZipInfo], size: int, limits: Limits) -> None:
    unpacked = sum(member.file_size for member in members)
    if unpacked > limits.max_unpacked_bytes:
        why = f"it would unpack to {unpacked} bytes; the limit is {limits.max_unpacked_bytes}"
    elif unpacked > _BOMB_BYTES and unpacked > size * _BOMB_RATIO:
        why = f"it would unpack to {unpacked} bytes, more than {_BOMB_RATIO} times its size"
    else:
        return
    raise _not_opened("unpacked_size", why)


def _refuse_escape(members: list[zipfile.ZipInfo]) -> None:
    """Refuse what no office program writes: nothing is unpacked to a path here, but whoever gets the file may do so."""
    if any(_OUTSIDE.search(member.filename) for member in members):
        raise _not_opened("unsupported", "a file in it is to go to a place outside the archive")
    if any(stat.S_ISLNK(member.external_attr >> 16) for member in members):
        raise _not_opened("unsupported", "it holds a link to another place")


def _not_opened(code: str, why: str) -> InputRejected:
    return InputRejected(code, f"The archive (or office file) is not opened: {why}. Send what is in it as PDF.")


def _spreadsheet(archive: zipfile.ZipFile, names: set[str]) -> Kind:
    if "xl/workbook.xml" in names:
        return Kind(media=Media.SHEET, media_type=XLSX, sheet_format="xlsx")
    if "mimetype" in names and archive.read("mimetype")[:200].strip() == ODS.encode():
        if b"encryption-data" in (archive.read("META-INF/manifest.xml") if "META-INF/manifest.xml" in names else b""):
            raise InputRejected("encrypted", "The sheet needs a password. Send a copy without a password.")
        return Kind(media=Media.SHEET, media_type=ODS, sheet_format="ods")
    if "[Content_Types].xml" in names or "mimetype" in names:
        raise InputRejected("unsupported", "The file is an office document but no XLSX or ODS sheet. Send it as PDF.")
    raise InputRejected(
        "container_unsupported",
        "The file is a ZIP archive. It is kept, but archives are not opened yet: send the files in it one by one.",
    )


def inspect_compound(data: bytes, limits: Limits) -> Kind:
    """Say whether an OLE2 file is an XLS sheet.

    Raises:
        InputRejected: `encrypted`, `container_unsupported` for a saved Outlook message, else `unsupported`.
    """
    if _ENCRYPTED in data:
        raise InputRejected("encrypted", "The office file needs a password. Send a copy without a password.")
    if _OUTLOOK in data:
        raise InputRejected(
            "container_unsupported",
            "The file is a saved Outlook message. It is kept, but e-mails are not opened yet: send its attachments.",
        )
    if any(name in data for name in _WORKBOOK):
        return Kind(media=Media.SHEET, media_type=XLS, sheet_format="xls")
    raise InputRejected("unsupported", "The file is an old office document but no XLS sheet. Send it as PDF.")
