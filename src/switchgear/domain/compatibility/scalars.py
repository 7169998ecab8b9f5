"""Numbers and strings: is the producer's range, pattern or format within the consumer's?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

from switchgear.domain.compatibility.document import Reading, canonical, is_integer, shown
from switchgear.domain.compatibility.evaluation import ANY_STRING_FORMATS, is_multiple, matches
from switchgear.domain.compatibility.shapes import Kind, Shape, interval
from switchgear.domain.compatibility.verdict import Compatibility, incompatible, unknown


def number_fits(shape: Shape, consumer: Reading) -> Iterator[Compatibility]:
    """Bounds and multiples of one number shape against one consumer node."""
    integers = shape.kind is Kind.INTEGER
    sent, accepted = interval(shape.readings, integers=integers), interval((consumer,), integers=integers)
    if accepted.low is not None:
        reach = sent.low is None or (sent.low, sent.low_open) < (accepted.low, accepted.low_open)
        if reach:
            refusal = _bound("from", (sent.low, sent.low_open), (accepted.low, accepted.low_open))
            yield refusal if _is_reached(shape, sent.low, sent.low_open, accepted.low) else refusal.doubted()
    if accepted.high is not None:
        reach = sent.high is None or (sent.high, not sent.high_open) > (accepted.high, not accepted.high_open)
        if reach:
            refusal = _bound("up to", (sent.high, sent.high_open), (accepted.high, accepted.high_open))
            yield refusal if _is_reached(shape, sent.high, sent.high_open, accepted.high) else refusal.doubted()
    if "multipleOf" in consumer.usable:
        yield from _multiple_fits(shape, consumer.usable["multipleOf"])


def _is_reached(shape: Shape, bound: Any, excluded: bool, accepted: Any) -> bool:
    """Whether *shape*, which goes to *bound*, surely has a number beyond *accepted*: multiples may end before."""
    divisors = shape.all("multipleOf")
    if bound is None or not divisors:
        return True
    if len(divisors) > 1 or (shape.kind is Kind.INTEGER and not is_integer(divisors[0])):
        return False
    room = abs(Fraction(bound) - Fraction(accepted))
    return room > Fraction(divisors[0]) or (not excluded and is_multiple(bound, divisors[0]) is True)


def _bound(word: str, sent: tuple[Any, bool], accepted: tuple[Any, bool]) -> Compatibility:
    def phrase(value: Any, excluded: bool) -> str:
        return "of any size" if value is None else f"{word} {shown(value)}" + (" (excluded)" if excluded else "")

    return incompatible(
        f"The producer may send numbers {phrase(*sent)}; the consumer accepts numbers {phrase(*accepted)}."
    )


def _multiple_fits(shape: Shape, divisor: Any) -> Iterator[Compatibility]:
    sent = shape.all("multipleOf")
    if divisor in sent:
        return
    declared = len(sent)
    if shape.kind is Kind.INTEGER:
        sent = [math.lcm(*(int(each) for each in sent if is_integer(each))), *(e for e in sent if not is_integer(e))]
    answers = [is_multiple(value, divisor) for value in sent]
    if True in answers and all(Fraction(value).denominator <= 2**20 for value in (*sent, divisor)):
        return
    if any(answer is not False for answer in answers):
        yield unknown(
            f"The producer sends multiples of {shown(sent[0])}; validators differ on whether those are multiples of "
            f"{shown(divisor)}, which the consumer accepts."
        )
        return
    may_send = f"multiples of {shown(sent[0])}" if declared else "any number"
    refusal = incompatible(f"The producer may send {may_send}; the consumer accepts multiples of {shown(divisor)}.")
    # two divisors together may make a multiple of the consumer's, and so may being whole and a fraction's multiple
    yield refusal.doubted() if max(declared, len(sent)) > 1 else refusal


#: Longest text made up to show that a pattern refuses something.
_SAMPLE_LENGTH: Final = 32

#: Formats that Pydantic checks, by the family of texts they describe. Different families have no text in common that
#: a producer of one would regularly send.
FAMILIES: Final[Mapping[str, str]] = {
    "date": "date",
    "date-time": "date",
    "time": "time",
    "duration": "duration",
    **dict.fromkeys(("uuid", "uuid1", "uuid3", "uuid4", "uuid5", "uuid6", "uuid7", "uuid8"), "uuid"),
    **dict.fromkeys(("email", "idn-email", "name-email"), "email"),
    **dict.fromkeys(("uri", "iri", "multi-host-uri"), "uri"),
    **dict.fromkeys(("ipv4", "ipv6", "ipvanyaddress", "ipv4network", "ipv6network", "ipvanynetwork"), "ip"),
}

#: (narrower, wider) formats.
NARROWER: Final[frozenset[tuple[str, str]]] = frozenset(
    {(f"uuid{version}", "uuid") for version in (1, 3, 4, 5, 6, 7, 8)}
    | {("email", "idn-email"), ("email", "name-email"), ("uri", "iri")}
    | {("ipv4", "ipvanyaddress"), ("ipv6", "ipvanyaddress")}
    | {("ipv4network", "ipvanynetwork"), ("ipv6network", "ipvanynetwork")}
)


def string_fits(shape: Shape, consumer: Reading) -> Iterator[Compatibility]:
    """Length, pattern, format and encoding of one string shape against one consumer node."""
    formats = {name for name in shape.all("format") if name not in ANY_STRING_FORMATS}
    shaped = bool(formats or shape.all("pattern") or shape.all("contentEncoding") or shape.all("contentMediaType"))
    for result in _length_fits(shape, consumer):
        yield result.doubted() if shaped else result
    if "pattern" in consumer.usable:
        yield from _pattern_fits(shape, consumer.usable["pattern"], shaped)
    if "format" in consumer.usable and consumer.usable["format"] not in ANY_STRING_FORMATS:
        result_or_none = _format_fits(formats, shaped, consumer.usable["format"])
        if result_or_none is not None:
            yield result_or_none
    for keyword in ("contentEncoding", "contentMediaType", "contentSchema"):
        # a reference would be looked up in the other document, so equal text is not the same schema
        if keyword in consumer.usable and (
            consumer.usable[keyword] not in shape.all(keyword) or "$ref" in canonical(consumer.usable[keyword])
        ):
            yield unknown(
                f"The consumer accepts strings with {keyword} {shown(consumer.usable[keyword])}; "
                "the producer does not declare the same."
            )


def _length_fits(shape: Shape, consumer: Reading) -> Iterator[Compatibility]:
    least, most = consumer.usable.get("minLength", 0), consumer.usable.get("maxLength")
    sent_least, sent_most = shape.largest("minLength") or 0, shape.smallest("maxLength")
    if sent_least < least:
        yield incompatible(
            f"The producer may send strings of {sent_least} characters; the consumer accepts at least {least}."
        )
    if most is not None and (sent_most is None or sent_most > most):
        length = "any length" if sent_most is None else f"{sent_most} characters"
        yield incompatible(
            f"The producer may send strings of {length}; the consumer accepts at most {most} characters."
        )


def _pattern_fits(shape: Shape, pattern: str, shaped: bool) -> Iterator[Compatibility]:
    if pattern in shape.all("pattern"):
        return
    if shaped:
        sent = shown((shape.all("pattern") or shape.all("format") or ["an encoding"])[0])
        yield unknown(
            f"The producer sends strings of the form {sent}; it cannot be decided whether all of them match the "
            f"consumer's pattern {shown(pattern)}."
        )
        return
    least, most = shape.largest("minLength") or 0, shape.smallest("maxLength")
    for sample in () if least > _SAMPLE_LENGTH else ("", "a", "0", " ", "-", "Zz9 _/", "é", "a\nb"):
        text = sample * max(1, -(-least // max(1, len(sample))))
        if len(text) >= least and (most is None or len(text) <= most) and matches(pattern, text) is False:
            yield incompatible(
                f"The producer may send any string, for instance {shown(text)}; the consumer accepts strings that "
                f"match {shown(pattern)}."
            )
            return
    yield unknown(f"The producer may send any string; the consumer accepts strings that match {shown(pattern)}.")


def _format_fits(formats: set[str], shaped: bool, accepted: str) -> Compatibility | None:
    if any(sent == accepted or (sent, accepted) in NARROWER for sent in formats):
        return None
    family = FAMILIES.get(accepted)
    sent = " and ".join(sorted(formats)) or "no particular format"
    message = f"The producer sends strings of format {sent}; the consumer accepts format {accepted}."
    if not shaped:
        message = f"The producer may send any string; the consumer accepts strings of format {accepted}."
        return incompatible(message) if family else unknown(message)
    if "date-time" in formats and accepted == "date":
        return incompatible(message)
    known = [FAMILIES[name] for name in formats if name in FAMILIES]
    return incompatible(message) if family and known and family not in known else unknown(message)
