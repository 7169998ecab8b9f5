"""The child side of a module process, as far as it can be tried without one: frames, documents, context, measures."""

import errno
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.sdk import Limits, NeedsReview, SecretRef, Unavailable
from switchgear.sdk.host import frames, measures, seccomp
from switchgear.sdk.host.context import MAX_LOG_EVENTS, Document, DocumentReader, WorkerContext, delivery_key
from switchgear.sdk.host.enclosure import Enclosure, rules
from switchgear.sdk.host.failures import failure_of, traceback_of
from switchgear.sdk.host.landlock import CHANGE, READ, READ_DIR

DATA = bytes(range(256)) * 40


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    file = tmp_path / "stored"
    file.write_bytes(DATA)
    number = os.open(file, os.O_RDONLY)
    yield number
    os.close(number)


def context(pipe: socket.socket, scratch: Path) -> WorkerContext:
    return WorkerContext(pipe, scratch, Limits(), {"env:SWITCHGEAR_SECRET_A": "value"})


# --- frames ---


@given(
    header=st.dictionaries(st.text(max_size=20), st.one_of(st.integers(), st.text(max_size=50), st.none()), max_size=5),
    body=st.binary(max_size=2000),
)
def test_a_frame_arrives_as_it_was_sent(header: dict[str, object], body: bytes) -> None:
    one, other = socket.socketpair()
    with one, other:
        frames.send(one, header, body)
        frame = frames.receive(other)

    assert frame is not None
    assert frame.header == header
    assert frame.body == body


def test_a_frame_that_is_larger_than_the_socket_arrives_whole(pair: tuple[socket.socket, socket.socket]) -> None:
    body = os.urandom(3 << 20)
    sender = threading.Thread(target=frames.send, args=(pair[0], {"n": 1}, body))
    sender.start()
    frame = frames.receive(pair[1])
    sender.join()

    assert frame is not None
    assert frame.body == body


def test_descriptors_travel_beside_a_frame(pair: tuple[socket.socket, socket.socket], descriptor: int) -> None:
    socket.send_fds(pair[0], [frames.pack({"n": 1})], [descriptor])
    frame = frames.receive(pair[1])

    assert frame is not None
    [copy] = frame.descriptors
    assert os.pread(copy, 4, 0) == DATA[:4]
    assert not os.get_inheritable(copy)
    os.close(copy)


def test_a_closed_pipe_is_the_end_and_half_a_frame_is_an_error(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].sendall(frames.pack({"n": 1}, 10) + b"123")
    pair[0].close()

    with pytest.raises(frames.FrameError, match="middle of a frame"):
        frames.receive(pair[1])
    assert frames.receive(pair[1]) is None


@pytest.mark.parametrize("text", [b"[]", b"{", b"\xff"])
def test_a_header_that_is_no_object_is_an_error(text: bytes) -> None:
    with pytest.raises(frames.FrameError):
        frames.unpack_header(text)


def test_a_header_beyond_its_bound_is_not_read() -> None:
    with pytest.raises(frames.FrameError, match="header of"):
        frames.unpack_prefix(frames.PREFIX.pack(frames.MAX_HEADER_BYTES + 1, 0))


# --- the document ---


def test_two_readers_of_one_document_have_places_of_their_own(descriptor: int) -> None:
    first, second = (DocumentReader(descriptor, len(DATA)) for _ in range(2))

    assert first.read(10) == DATA[:10]
    assert second.read(3) == DATA[:3]
    assert first.seek(-5, os.SEEK_END) == len(DATA) - 5
    assert first.read() == DATA[-5:]
    assert second.seek(1, os.SEEK_CUR) == second.tell() == 4
    with pytest.raises(ValueError, match="negative"):
        first.seek(-1)


@pytest.mark.parametrize(
    ("name", "copy"),
    [("Invoice.PDF", "document.pdf"), ("../../etc/passwd", "document"), ("a.\u202efdp", "document"), ("", "document")],
)
def test_the_private_copy_never_takes_its_name_from_the_sender(tmp_path: Path, name: str, copy: str) -> None:
    stored = tmp_path / "stored"
    stored.write_bytes(DATA)
    facts = {"sha256": "0", "size_bytes": len(DATA), "file_name": name}
    document = Document(os.open(stored, os.O_RDONLY), facts, tmp_path / "inbox")

    path = document.blob.path
    assert path == tmp_path / "inbox" / copy == document.blob.path
    assert path.read_bytes() == DATA
    assert path.stat().st_mode & 0o777 == 0o400
    with document.blob.open() as stream:
        assert stream.read() == DATA
    document.close()
    assert not path.exists()
    assert stored.stat().st_nlink == 1


# --- the context ---


def test_a_module_that_logs_without_end_is_cut(pair: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    made = context(pair[0], tmp_path)
    received: list[frames.Frame] = []

    def read() -> None:
        while (frame := frames.receive(pair[1])) is not None:
            received.append(frame)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(MAX_LOG_EVENTS + 50):
        made.log.info("again", number=number, text=object())
    made.log.start()
    made.log.warning("next.attempt")
    pair[0].shutdown(socket.SHUT_RDWR)
    reader.join()

    assert len(received) == MAX_LOG_EVENTS + 1
    assert received[0].header["fields"]["number"] == 0
    assert received[-1].header == {"log": "warning", "event": "next.attempt", "fields": {}}


def test_a_secret_that_was_not_resolved_is_unavailable_with_the_fix(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    made = context(pair[0], tmp_path)

    assert made.secret(SecretRef("env:SWITCHGEAR_SECRET_A")) == "value"
    with pytest.raises(Unavailable) as raised:
        made.secret(SecretRef("env:SWITCHGEAR_SECRET_B"))
    assert raised.value.fix == "export SWITCHGEAR_SECRET_B=..."


def test_only_files_of_the_scratch_folder_are_kept(pair: tuple[socket.socket, socket.socket], tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (tmp_path / "outside").write_text("x")
    (scratch / "link").symlink_to(tmp_path / "outside")
    made = context(pair[0], scratch)

    for path in (tmp_path / "outside", scratch / "link", scratch / "absent", scratch):
        with pytest.raises(ValueError, match=r"below ctx\.scratch"):
            made.save(path)


def test_an_artifact_that_the_engine_refuses_is_an_error(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    (tmp_path / "page.png").write_bytes(b"1")
    frames.send(pair[1], {"message": "the disk is full"})

    with pytest.raises(OSError, match="the disk is full"):
        context(pair[0], tmp_path).save(tmp_path / "page.png")


def test_the_delivery_key_depends_on_base_and_target() -> None:
    keys = {delivery_key("a", "t"), delivery_key("a", "u"), delivery_key("b", "t")}

    assert len(keys) == 3
    assert delivery_key("a", "t") in keys


def test_a_failure_is_plain_data_without_the_rejected_value() -> None:
    with pytest.raises(ValueError, match="secret is given by reference") as raised:
        SecretRef("canary-1290")

    found = failure_of(raised.value)
    assert found["error"] == "ValidationError"
    assert "canary-1290" not in str(found)
    assert failure_of(ModuleNotFoundError("no", name="acme.sub"))["missing"] == "acme.sub"
    assert failure_of(Unavailable("no", fix="do"))["record"]["fields"] == {"fix": "do"}


# --- what an enclosed worker may reach ---


def test_what_is_private_stays_hidden_inside_what_may_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "checkout" / "home"
    for folder in (home / "artifacts", home / "venv" / "packages", tmp_path / "checkout" / "source"):
        folder.mkdir(parents=True)
    (tmp_path / "checkout" / "link").symlink_to("/")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "checkout"), str(home / "venv" / "packages")])

    found = dict(rules(Enclosure(reads=[str(home / "artifacts")], private=[str(home)]), tmp_path / "scratch"))

    ours = {path: rights for path, rights in found.items() if path.startswith(str(tmp_path))}
    assert ours == {
        str(tmp_path / "checkout"): READ_DIR,
        str(tmp_path / "checkout" / "source"): READ,
        str(home / "venv" / "packages"): READ,
        str(tmp_path / "scratch"): CHANGE,
    }
    assert "/" not in found


# --- the filter of calls, as the kernel reads it: on every machine, also where it cannot be tried ---

ALLOWED, NO_PERMISSION, NOT_THERE = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS


def verdict(program: bytes, audit: int, number: int, first: int = 0) -> int:
    """Run the instructions on one call."""
    described = struct.pack("=IIQQ", number, audit, 0, first)
    steps = list(struct.iter_unpack("HBBI", program))
    at = loaded = 0
    while True:
        what, yes, no, value = steps[at]
        if what == 0x06:
            return int(value)
        if what == 0x20:
            loaded = struct.unpack_from("=I", described, value)[0]
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[what]
            at += yes if holds else no
        at += 1


@pytest.mark.parametrize("name", ["x86_64", "aarch64"])
def test_the_filter_refuses_what_it_names_and_nothing_else(name: str) -> None:
    known = seccomp._MACHINES[name]
    strict = seccomp.refused_calls(known, sockets=True, dangerous=True)
    program = seccomp._program(known, strict, dangerous=True)
    weak = seccomp._program(known, seccomp.refused_calls(known, sockets=True), dangerous=False)
    dangerous = {numbers[known.column] for numbers in seccomp.DANGEROUS.values()} - {0}
    thread, user_namespace = 0x3D0F00, 0x10000000 | signal.SIGCHLD

    found = {number: verdict(program, known.audit, number) for number in range(500)}
    refused = {number for number, answer in found.items() if answer == NO_PERMISSION}
    assert refused == dangerous | {known.socket, known.io_uring_setup}
    assert {number for number, answer in found.items() if answer == NOT_THERE} == {seccomp.CLONE3}
    assert verdict(program, known.audit, known.clone, thread) == ALLOWED
    assert verdict(program, known.audit, known.clone, user_namespace) == NO_PERMISSION
    assert verdict(program, known.audit, 0x40000000) == NO_PERMISSION, "the other set of numbers of x86-64"
    assert verdict(program, known.audit ^ 1, 0) == NO_PERMISSION, "the calls of another machine"
    assert verdict(weak, known.audit, known.socket) == NO_PERMISSION
    assert verdict(weak, known.audit, known.clone, user_namespace) == ALLOWED
    assert verdict(weak, known.audit, seccomp.CLONE3) == ALLOWED


# --- measures ---


def test_children_are_found_with_and_without_the_kernels_list() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in measures.children()
        if sys.platform == "linux":
            assert child.pid in measures._children_by_scan(os.getpid())
        child.communicate(b"\n")
    assert child.pid not in measures.children()


def test_an_unknown_process_has_no_children() -> None:
    assert measures.children(2**22 + 1) == []


def test_facts_for_a_review_may_be_amounts_and_days() -> None:
    facts = {"gross": Decimal("10.00"), "due": date(2026, 1, 31), "lines": [{"net": Decimal("1.5")}], "pages": 3}
    plain = {"gross": "10.00", "due": "2026-01-31", "lines": [{"net": "1.5"}], "pages": 3}

    asked = NeedsReview("Look at this.", facts)

    assert asked.facts == plain
    assert json.loads(json.dumps(failure_of(asked)))["record"]["fields"] == {"facts": plain}


def test_an_error_without_words_is_named_by_its_type() -> None:
    assert failure_of(Mute())["error"] == "Mute"
    assert failure_of(Mute())["message"] == ""


def _raised(work: Callable[[], object]) -> BaseException:
    try:
        work()
    except BaseException as error:
        return error
    raise AssertionError


def _breaks() -> None:
    raise KeyError("missing")


def _explains() -> None:
    try:
        _breaks()
    except KeyError as error:
        raise ValueError("no such thing") from error


def _fails_anew() -> None:
    try:
        _breaks()
    except KeyError:
        raise ValueError("and then this") from None


@pytest.mark.parametrize("work", [_breaks, _explains, _fails_anew], ids=lambda work: work.__name__)
def test_a_traceback_has_the_lines_that_python_prints_but_its_marks(work: Callable[[], object]) -> None:
    error = _raised(work)
    printed = "".join(traceback.format_exception(error)).splitlines()

    assert traceback_of(error).splitlines() == [line for line in printed if not line or set(line) - set(" ^~")]


def test_a_traceback_of_a_group_names_every_member() -> None:
    def break_twice() -> None:
        raise ExceptionGroup("both", [ValueError("the first"), KeyError("the second")])

    assert {"the first", "the second"} <= set(re.findall(r"the \w+", traceback_of(_raised(break_twice))))


def test_a_traceback_ends_where_exceptions_cause_each_other() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one

    assert traceback_of(one).count("ValueError") == 2


def test_a_traceback_of_endless_recursion_is_short() -> None:
    def again() -> None:
        again()

    assert len(traceback_of(_raised(again)).splitlines()) < 50
