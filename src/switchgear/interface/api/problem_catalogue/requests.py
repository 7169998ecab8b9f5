"""Reasons of refused requests, and of the system as a whole. Source: INTERFACES 1, 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from switchgear.domain.errors import Code
from switchgear.interface.api.problem_catalogue.entry import Entry

REQUESTS: Final[Mapping[Code, Entry]] = {
    Code.REQUEST_MALFORMED: Entry(
        "The body is not strict JSON",
        "The body cannot be read: no JSON, a duplicate key, NaN, a number or nesting without measure, a NUL.",
        "It was written by hand or by a lenient library.",
        "Correct the place that the message names. Nothing was changed.",
    ),
    Code.REQUEST_INVALID: Entry(
        "The request does not fit",
        "A field, parameter or header is unknown, missing or has a wrong value; each is listed.",
        "A typing error, or a client for another version.",
        "Compare with `/docs`. Nothing was changed.",
    ),
    Code.REQUEST_NOT_FOUND: Entry(
        "There is nothing here",
        "No resource has this address, or it is not visible for this token.",
        "A wrong id, or a document of another sender.",
        "List the resources to find the right id.",
    ),
    Code.REQUEST_METHOD_NOT_ALLOWED: Entry(
        "The method is not allowed here",
        "The address exists, but not for this method; the header `Allow` names those that it has.",
        "A wrong method.",
        "Compare with `/docs`.",
    ),
    Code.REQUEST_TOO_LARGE: Entry(
        "The body is too large",
        "The body is larger than is accepted here: MAX_UPLOAD_BYTES for documents, 1 MiB for JSON.",
        "A very large document, or the wrong file.",
        "Send a smaller one, or raise MAX_UPLOAD_BYTES.",
    ),
    Code.REQUEST_UNSUPPORTED_MEDIA_TYPE: Entry(
        "The body has another media type",
        "JSON routes take `application/json`; documents come as `multipart/form-data` or as they are.",
        "The header Content-Type is missing or wrong.",
        "Set Content-Type.",
    ),
    Code.REQUEST_PRECONDITION_REQUIRED: Entry(
        "If-Match is required",
        "This change needs the ETag of the state that it is meant for.",
        "The header is missing.",
        "Read the resource, then repeat the change with its ETag in `If-Match`.",
    ),
    Code.REQUEST_PRECONDITION_FAILED: Entry(
        "It was changed in between",
        "The ETag in `If-Match` is not the present one. Nothing was changed.",
        "Somebody else changed the resource, or the active configuration, in between.",
        "Read it again and decide anew.",
    ),
    Code.REQUEST_ANSWER_LOST: Entry(
        "The answer of the first request was lost",
        "A request with this Idempotency-Key took effect; then the process died before it had stored the answer.",
        "The server was killed or the machine failed in that moment.",
        "Nothing is done again under this key. Look at what is there, such as `switchgear audit list`; send a new key "
        "to do it once more.",
    ),
    Code.REQUEST_IDEMPOTENCY_MISMATCH: Entry(
        "The Idempotency-Key was used for another request",
        "The same key came with another body or another route.",
        "A client uses a key twice.",
        "Use a new key for a new request.",
    ),
    Code.REQUEST_RATE_LIMITED: Entry(
        "Too early or too often",
        "This client sent many requests without a valid token, or a request whose Idempotency-Key belongs to one that "
        "is still at work; the message says which. It is to wait as `Retry-After` says.",
        "A client with an old token, somebody who guesses, or a request that is repeated before it was answered.",
        "Correct the token: requests with a valid one are still answered. Send a repeated request again, with the same "
        "key, after `Retry-After`.",
    ),
    Code.ACCESS_UNAUTHENTICATED: Entry(
        "No valid token",
        "The request has no token, or one that is unknown, expired or revoked.",
        "The header `Authorization: Bearer ...` is missing or old.",
        "Use a valid token. On the server itself, HOME/admin.token has one.",
    ),
    Code.ACCESS_FORBIDDEN: Entry(
        "The role does not allow it",
        "The token is valid, but its role does not include this action. The attempt was recorded.",
        "The action needs a higher role; the message names it.",
        "Ask an admin for a token with that role.",
    ),
    Code.SYSTEM_ERROR: Entry(
        "Something unexpected happened",
        "The server met an error that it has no better word for. The log has it under the request id.",
        "A fault in Switchgear.",
        "Try again. If it happens again, report it with the request id.",
    ),
    Code.SYSTEM_STARTING: Entry(
        "The server is starting",
        "The server answers already but cannot take work yet: it looks at the installed modules and the database.",
        "It was started a moment ago. The first start takes longest, because every module is described once.",
        "Wait as `Retry-After` says and repeat the request. `/readyz` says when it is ready.",
    ),
    Code.SYSTEM_DISK_LOW: Entry(
        "The disk is nearly full",
        "Less than MIN_FREE_BYTES is free, so no new documents are taken. Running work goes on.",
        "Documents, artifacts or other files fill the disk.",
        "Free space or enlarge the disk. Uploads work again at once.",
    ),
    Code.SYSTEM_DISK_FULL: Entry(
        "The disk is full",
        "Something could not be written. What was accepted before is safe; nothing is half written.",
        "Documents, artifacts or other files fill the disk.",
        "Free space or enlarge the disk.",
    ),
    Code.SYSTEM_READ_ONLY: Entry(
        "The storage is read-only",
        "The database or the home folder cannot be written.",
        "The file system was mounted read-only, often after a disk fault, or permissions changed.",
        "Make it writable again. The server goes on by itself.",
    ),
    Code.SYSTEM_ARTIFACTS_ELSEWHERE: Entry(
        "The folder of documents is another one",
        "The folder that ARTIFACTS_DIR names is not the one that this instance keeps its documents in, so this process "
        "takes no runs. Nothing was changed.",
        "The shared folder is not mounted on this machine, or the setting names another folder. The file `instance.id` "
        "in the folder says whose it is.",
        "Mount the shared folder, or set ARTIFACTS_DIR, the same folder on every machine. A mount that comes back is "
        "noticed within seconds.",
    ),
    Code.SYSTEM_SOURCE_UNREADABLE: Entry(
        "A folder, or a file in it, cannot be read",
        "A folder that `[[source]]` in switchgear.toml names, or one file in it, cannot be read or moved, or is a link "
        "or a pipe. A file stays where it is and the others go on; of a folder nothing is taken.",
        "The folder was not made or is not mounted, or its owner and mode shut this process out.",
        "Make or mount the folder, or give the user of this process the right to read and move its files. Both are "
        "noticed by themselves: a folder within a second, a file when it changes or after a minute.",
    ),
    Code.SYSTEM_DATABASE_UNREACHABLE: Entry(
        "The database does not answer",
        "The database cannot be reached, lets nobody in, or did not answer in time; the sentence says which. Nothing "
        "was changed by this request, unless the sentence says that this is not known.",
        "It is stopped or overloaded, the network to it is broken, or DATABASE_URL names a host, database, user or "
        "password that is none.",
        "Do what the sentence says. The server goes on by itself; repeat the request as `Retry-After` says.",
    ),
    Code.SYSTEM_DATABASE_DAMAGED: Entry(
        "The database is damaged",
        "Something that the database kept cannot be read any more. Nothing was changed by this request.",
        "A disk fault, a copy that was made while the server wrote, or a foreign program that wrote into the file.",
        "Stop the server, keep the damaged files, and bring back the newest backup with `switchgear restore`.",
    ),
    Code.SYSTEM_SCHEMA_NEWER: Entry(
        "The database is newer than this server",
        "A newer version of Switchgear migrated the database; an old server must not write to it.",
        "A downgrade, or two versions on one database.",
        "Start the newer version.",
    ),
}
