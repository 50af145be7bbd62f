"""Hostile Kafka messages, generated from a seed: whatever a producer can put into a topic.

Each message has a ``kind`` for counting. Hostile records that are valid all the same belong to instruments
with the prefix `SYMBOL`, so the results of all other instruments must not change.
"""

import json
import random
import struct
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import cache
from itertools import count as count_from
from itertools import islice, product
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, Producer
from confluent_kafka import Message as SentMessage
from hypothesis import strategies as st

from support.records import KAFKA_TIMESTAMP_MS
from tickerlake.model.schema import ALERT, BAR, INDICATOR, QUOTE, SCHEMAS, TRADE, FieldType, fields

SYMBOL: Final = "HOSTILE"
"""The symbols of hostile records begin with it, unless the symbol itself is hostile."""

EVENT_NS: Final = 1_709_733_900_000_000_000
MINUTE_NS: Final = 60_000_000_000
MAX_MESSAGE_BYTES: Final = 16_000_000
TOPIC_CONFIG: Final = {
    "max.message.bytes": str(MAX_MESSAGE_BYTES),
    "message.timestamp.after.max.ms": str(2**63 - 1),
    "message.timestamp.before.max.ms": str(2**63 - 1),
}
"""Of a topic that accepts all messages."""

Members = list[tuple[str, str]]
"""The members of a JSON document: names, and values as JSON text."""


class Message(NamedTuple):
    """A message to send; ``kind`` says what is wrong with it, empty for a good one."""

    kind: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int = KAFKA_TIMESTAMP_MS


# -- what is hostile

_DIGITS: Final = "123456789" * 100
ODD_VALUES: Final[dict[str, str]] = {
    "null": "null",
    "true": "true",
    "false": "false",
    "zero": "0",
    "minus zero": "-0.0",
    "negative": "-5",
    "fraction": "1.5",
    "exponent": "1E+2",
    "tiny": "1e-30",
    "ten decimals": "0.0000000001",
    "2^53 + 1": "9007199254740993",
    "2^63 - 1": "9223372036854775807",
    "2^63": "9223372036854775808",
    "-2^63": "-9223372036854775808",
    "-2^63 - 1": "-9223372036854775809",
    "2^64": "18446744073709551616",
    "10^10": "1e10",
    "10^28": "1e28",
    "10^29": "1e29",
    "38 digits": "99999999999999999999999999999.999999999",
    "1e400": "1e400",
    "-1e400": "-1e400",
    "1e-400": "1e-400",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "900 digits": _DIGITS,
    "900 decimals": f"0.{_DIGITS}",
    "leading zero": "007",
    "hexadecimal": "0x10",
    "empty text": '""',
    "text": '"x"',
    "number in text": '"5"',
    "NaN in text": '"NaN"',
    "1e400 in text": '"1e400"',
    "date in text": '"2024-02-30"',
    "lone surrogate": '"\\ud800"',
    "NUL": '"a\\u0000b"',
    "raw NUL": '"a\0b"',
    "raw line end": '"a\nb"',
    "line separators": '"a\u2028b\u2029c\u0085d"',
    "quotes": '"\\"\\\\\\/"',
    "markup": '"<img src=x onerror=alert(1)>"',
    "right to left": '"\u202egnp.exe\U0001f4a9"',
    "long text": json.dumps("x" * 100_000),
    "not UTF-8": '"\udcff\udce9"',
    "empty list": "[]",
    "list": "[1]",
    "list of texts": '["x"]',
    "list of null": "[null]",
    "list of everything": '[1,"x",null,true,{"a":[]},1.5]',
    "long list": f"[{','.join('0' * 10_000)}]",
    "empty object": "{}",
    "object": '{"a":1}',
    "object with duplicates": '{"a":1,"a":"x"}',
    "400 levels": "[" * 400 + "]" * 400,
    "700 levels": '{"a":' * 700 + "1" + "}" * 700,
    "1,600 levels": "[" * 1_600 + "]" * 1_600,
    "unclosed": "[" * 5_000,
}
"""Values for any field, as JSON text or what passes for it; some are right for some fields."""

ODD_IDS: Final = (
    "", " ", ".", "..", "*", "?", "%", "A", ".XXXX", "A.", "A.XXX", "A.XXXXX", "a.xxxx", "A.XXXX ",
    " A.XXXX", "A.XXXX\n", "A\0.XXXX", "A\tB.XXXX", "A/B.XXXX", "../../etc/passwd", "/etc/passwd",
    "C:\\A.XXXX", "A,B.XXXX", "=cmd|x.XXXX", "+1.XXXX", "-A.XXXX", "@A.XXXX", 'A","x":"B', "A'B.XXXX",
    "${A}.XXXX", "{}.XXXX", "\u0410.XXXX", "\u202eA.XXXX",
    "A\u2028.XXXX", "A\u0085.XXXX", "\U0001f4a9.XXXX", "e\u0301.XXXX",
    "A" * 33 + ".XXXX", "A" * 100_000 + ".XXXX", "null", "NaN", "0", "__proto__", "constructor",
    "A.XTAE", "A.ASEX",
)  # fmt: skip
"""Instrument ids, symbols and keys."""

ODD_TIMES: Final = (
    0, 1, -1, -(2**63), 2**63 - 1, 2**63 - 2, 2**63 - MINUTE_NS, 2**63, 253_402_300_799 * 10**9,
    -62_135_596_800 * 10**9, 4_102_444_800 * 10**9, EVENT_NS // 10**9,
    EVENT_NS // 10**6, EVENT_NS // 10**3, EVENT_NS * 1000,
)  # fmt: skip
"""Nanoseconds: beyond every range, and of another unit."""

ODD_TIMESTAMPS_MS: Final = (
    -1, 0, 1, -(2**63), 2**63 - 1, 2**63 // 10**6, 2**63 // 10**6 + 1, 253_402_300_799_000,
    253_402_300_800_000, 9_223_286_400_000, 2**53, 2**62, 1_709_733_900, KAFKA_TIMESTAMP_MS + 86_400_000,
)  # fmt: skip
"""Timestamps of messages in milliseconds; librdkafka sends the current time for 0."""

ODD_HEADERS: Final[tuple[tuple[tuple[str, bytes | None], ...], ...]] = (
    (),
    (("source", b"feed"),),
    (("absent", None), ("empty", b"")),
    (("twice", b"1"), ("twice", b"2"), ("twice", None)),
    (("bytes", b"\xff\xfe\0"), ("utf-16", "x".encode("utf-16"))),
    (("", b"nameless"), ("\u2028\n\0\U0001f4a9", b"odd name"), ('quo"te', b'"')),
    (("long", b"x" * 50_000), *((f"h{n}", b"v") for n in range(200))),
    (("kafka_offset", b"5"), ("kafka_headers", b"{}"), ("content-type", b"application/json")),
)  # fmt: skip

_DEPTHS: Final = (100, 499, 500, 501, 512, 1_000, 1_499, 1_500, 1_501, 5_000, 100_000)
_INTERVALS: Final = (
    "7m",
    "90s",
    "24h",
    "1440m",
    "86400s",
    "1d",
    "1w",
    "99999d",
    "99999w",
    "99999s",
    "0m",
    "1x",
    "m",
    "-1m",
    "99999d",
    "999999999s",
    "1.5m",
    "1M",
    "",
    " 1m",
    "1m ",
    "٣m",
)
_SESSION_DATES: Final = (
    "2024-02-30",
    "0000-00-00",
    "99999-01-01",
    "-1-01-01",
    "2024-1-2",
    "01/02/2024",
    "20240102",
)


# -- sound records

_TEXTS: Final = {
    "interval": "1m", "price_type": "trade", "aggressor_side": "buy", "correction": "new",
    "kind": "level", "severity": "info", "state": "fired", "direction": "up", "unit": "count",
    "cause": "unknown", "window": "1m",
}  # fmt: skip
_DECIMALS: Final = {"open": "10", "high": "11.5", "low": "9.25", "close": "10.75", "vwap": "10.5"}


def sound(schema: str, number: int = 0, symbol: str = SYMBOL) -> Members:
    """Return the members of a valid record of a schema; its time grows with its number, one minute each."""
    values = {"schema": schema, "instrument_id": f"{symbol}.XXXX", "symbol": symbol, **_TEXTS}
    open_ns = EVENT_NS + number * MINUTE_NS
    members: Members = []
    for field in fields(schema):
        match field.type:
            case FieldType.STRING:
                text = json.dumps(values.get(field.name, f"{field.name} {number}"))
            case FieldType.DECIMAL:
                text = _DECIMALS.get(field.name, "10.5")
            case FieldType.TIMESTAMP_NS:
                text = str(open_ns + (MINUTE_NS if field.name == "ts_close_ns" else 0))
            case FieldType.DATE:
                text = '"2024-03-06"'
            case FieldType.BOOL:
                text = "true" if field.name == "is_final" else "false"
            case FieldType.STRING_LIST:
                text = "[]"
            case FieldType.JSON:
                text = '{"sma_20":10.5}'
            case _:
                text = "0" if field.name == "revision" else str(number)
        members.append((field.name, text))
    return members


def encode(members: Sequence[tuple[str, str]]) -> bytes:
    """Return a document; lone surrogates in its text become bytes that are not UTF-8."""
    text = ",".join(f"{json.dumps(name, ensure_ascii=False)}:{value}" for name, value in members)
    return f"{{{text}}}".encode("utf-8", "surrogateescape")


def good(schema: str, number: int, symbol: str = "GOOD") -> Message:
    """Return a message with a valid record."""
    return Message("", f"{symbol}.XXXX".encode(), encode(sound(schema, number, symbol)))


# -- kinds

Kind = Callable[[random.Random], bytes | None]
"""Returns the value of a message."""

KINDS: Final[dict[str, Kind]] = {}
"""What can be wrong with a value, besides the fields of `every_field`; by name."""


def _kind(name: str) -> Callable[[Kind], Kind]:
    def register(function: Kind) -> Kind:
        KINDS[name] = function
        return function

    return register


def _any_sound(rng: random.Random, *schemas: str) -> Members:
    schema = rng.choice(schemas or tuple(SCHEMAS))
    # not the same instruments for all: one whose time is in the year 2100 rejects everything later
    return sound(schema, rng.randrange(1_000), f"{SYMBOL}{schema[0].upper()}{rng.randrange(40)}")


def _replaced(members: Members, name: str, value: str) -> Members:
    return [(each, value if each == name else old) for each, old in members]


@_kind("sound")
def _sound(rng: random.Random) -> bytes:
    return encode(_any_sound(rng))


@_kind("sound trade of another day")
def _sound_trade(rng: random.Random) -> bytes:
    return encode(sound(TRADE, rng.randrange(100_000), f"{SYMBOL}T{rng.randrange(40)}"))


@_kind("several odd members")
def _several(rng: random.Random) -> bytes:
    members = _any_sound(rng)
    for _ in range(rng.randrange(2, 6)):
        members = _replaced(members, rng.choice(members)[0], rng.choice(tuple(ODD_VALUES.values())))
    return encode(members)


@_kind("missing members")
def _missing(rng: random.Random) -> bytes:
    share = rng.random()
    return encode([each for each in _any_sound(rng) if rng.random() < share])


@_kind("schema only")
def _schema_only(rng: random.Random) -> bytes:
    return encode(_any_sound(rng)[:1])


@_kind("duplicate members")
def _duplicates(rng: random.Random) -> bytes:
    members = _any_sound(rng)
    for _ in range(rng.randrange(1, 4)):
        name, value = rng.choice(members)
        other = rng.choice((value, *ODD_VALUES.values()))
        members.insert(rng.randrange(len(members) + 1), (name, other))
    return encode(members)


@_kind("unknown members")
def _unknown(rng: random.Random) -> bytes:
    names = (
        "", "x", "kafka_offset", "kafka_key", "kafka_timestamp_ms", "kafka_headers", "partition", "offset",
        "value", "__proto__", "a.b", "a b", "\u2028", "ts_event", "SCHEMA", "Price", "x" * 10_000,
    )  # fmt: skip
    members = _any_sound(rng)
    for name in rng.sample(names, rng.randrange(1, 6)):
        members.insert(rng.randrange(len(members) + 1), (name, rng.choice(tuple(ODD_VALUES.values()))))
    return encode(members)


@_kind("two thousand members")
def _many_members(rng: random.Random) -> bytes:
    return encode([*_any_sound(rng), *((f"m{n}", str(n)) for n in range(2_000))])


@_kind("schema of another record")
def _other_schema(rng: random.Random) -> bytes:
    names = (*SCHEMAS, "trade.v2", "bar.v0", "trade", "TRADE.V1", "bar.v1 ", "order.v1", "", "*")
    return encode(_replaced(_any_sound(rng), "schema", json.dumps(rng.choice(names))))


@_kind("schema that is no text")
def _schema_no_text(rng: random.Random) -> bytes:
    return encode(_replaced(_any_sound(rng), "schema", rng.choice(tuple(ODD_VALUES.values()))))


@_kind("schema in escapes")
def _schema_in_escapes(rng: random.Random) -> bytes:
    schema = rng.choice(tuple(SCHEMAS))
    name = schema.replace(".", "\\u002e")
    return encode(sound(schema, 1)).replace(f'"{schema}"'.encode(), f'"{name}"'.encode())


@_kind("names in escapes")
def _names_in_escapes(rng: random.Random) -> bytes:
    name = rng.choice(_any_sound(rng))[0]
    return encode(_any_sound(rng)).replace(
        f'"{name}"'.encode(), f'"\\u{ord(name[0]):04x}{name[1:]}"'.encode()
    )


@_kind("schema of another record in a text")
def _schema_in_text(rng: random.Random) -> bytes:
    members = _any_sound(rng)
    text = json.dumps(rng.choice(tuple(SCHEMAS)))
    return encode(_replaced(members, rng.choice(("source", "symbol", "extra")), text))


@_kind("odd instrument")
def _odd_instrument(rng: random.Random) -> bytes:
    members = _any_sound(rng)
    return encode(
        _replaced(members, rng.choice(("instrument_id", "symbol")), json.dumps(rng.choice(ODD_IDS)))
    )


@_kind("odd time")
def _odd_time(rng: random.Random) -> bytes:
    members = _any_sound(rng)
    for name in [name for name, _ in members if name.startswith("ts_") and rng.random() < 0.7]:
        members = _replaced(members, name, str(rng.choice(ODD_TIMES)))
    return encode(members)


@_kind("odd interval or session")
def _odd_interval(rng: random.Random) -> bytes:
    members = _replaced(_any_sound(rng, BAR, INDICATOR), "interval", json.dumps(rng.choice(_INTERVALS)))
    return encode(_replaced(members, "session_date", json.dumps(rng.choice(_SESSION_DATES))))


@_kind("odd prices")
def _odd_prices(rng: random.Random) -> bytes:
    schema = rng.choice((BAR, TRADE, QUOTE, ALERT))
    names = [field.name for field in fields(schema) if field.type is FieldType.DECIMAL]
    members = _any_sound(rng, schema)
    for name in rng.sample(names, rng.randrange(1, len(names) + 1)):
        digits = "".join(rng.choices("0123456789", k=rng.randrange(1, 45)))
        number = Decimal(rng.choice(("", "-")) + digits).scaleb(-rng.randrange(0, 40))
        members = _replaced(members, name, rng.choice((f"{number:f}", f"{number:E}", f'"{number:f}"')))
    return encode(members)


@_kind("deep nesting")
def _deep(rng: random.Random) -> bytes:
    depth, is_closed = rng.choice(_DEPTHS), rng.random() < 0.8
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}"), ('[{"schema":', "}]")))
    nested = opening * depth + "1" + (closing * depth if is_closed else "")
    if rng.random() < 0.3:
        return nested.encode()
    members = _any_sound(rng)
    names = ("x", "extra", "values", *(name for name, _ in members))
    name = rng.choice(names)
    if name in dict(members):
        return encode(_replaced(members, name, nested))
    return encode([(name, nested), *members] if rng.random() < 0.5 else [*members, (name, nested)])


@_kind("not UTF-8")
def _not_utf8(rng: random.Random) -> bytes:
    value = bytearray(encode(_any_sound(rng)))
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(value))
        value[at : at + 1] = rng.choice((b"\xff", b"\xe9", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"))
    return bytes(value)


@_kind("truncated")
def _truncated(rng: random.Random) -> bytes:
    value = encode(_any_sound(rng))
    return value[: rng.randrange(len(value))]


@_kind("one byte changed")
def _changed(rng: random.Random) -> bytes:
    value = bytearray(encode(_any_sound(rng)))
    value[rng.randrange(len(value))] = rng.randrange(256)
    return bytes(value)


@_kind("white space")
def _white_space(rng: random.Random) -> bytes:
    value = encode(_any_sound(rng))
    spaces = rng.choice(
        (b"\n", b"\r\n", b"\t", b"  ", b"\r", b"\x0b", b"\x0c", "\u0085".encode(), "\u2028".encode())
    )
    at = rng.choice((0, 1, value.index(b":"), value.index(b",") + 1, len(value) - 1, len(value)))
    return value[:at] + spaces + value[at:]


@_kind("other syntax")
def _syntax(rng: random.Random) -> bytes:
    value = encode(_any_sound(rng))
    return rng.choice(
        (
            b"\xef\xbb\xbf" + value, value + value, value + b"\n" + value, value + b",", value[:-1] + b",}",
            b"[" + value + b"]", value + b"}", b"// x\n" + value, value.replace(b'"', b"'"),
            json.dumps(value.decode()).encode(), value.decode().encode("utf-16"),
            value.decode().encode("utf-32"), b"\0" + value, value + b"\0", b"\x1f\x8b" + value,
            b'{"schema":' + value + b"}",
        )
    )  # fmt: skip


@_kind("no object")
def _no_object(rng: random.Random) -> bytes | None:
    values = (
        None,
        b"",
        b" ",
        b"\n",
        b"\0",
        b"{}",
        b"[]",
        b"{",
        b"}",
        b'"',
        b'""',
        b'"trade.v1"',
        b'"bar.v1"',
        b"null,",
    )
    odd = (text.encode("utf-8", "surrogateescape") for text in ODD_VALUES.values())
    return rng.choice((*values, *odd))


@_kind("random bytes")
def _random_bytes(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(1, 300))


@_kind("registry framing")
def _registry(rng: random.Random) -> bytes:
    body = rng.choice(
        (
            encode(_any_sound(rng)),
            b"\0" + b"\x0a\x04ABUS\x11" + rng.randbytes(8),
            b"\x08ABUS" + rng.randbytes(20),
        )
    )
    return b"\0" + struct.pack(">I", rng.randrange(2**32)) + body


# -- messages


@cache
def every_field() -> tuple[tuple[str, str, str], ...]:
    """Return each field of each schema with each odd value: schema, field, name of the value."""
    return tuple(
        (schema, field.name, odd) for schema in SCHEMAS for field, odd in product(fields(schema), ODD_VALUES)
    )


def hostile(seed: int, count: int) -> list[Message]:
    """Return hostile messages: half of them one odd field, the other half of all `KINDS` in turn."""
    return list(islice(_generate(random.Random(seed)), count))


def mixed(good_messages: Sequence[Message], seed: int, count: int) -> list[Message]:
    """Return good messages in their order, with hostile ones between them."""
    rng = random.Random(seed)
    generated = hostile(seed, count)
    positions = sorted(rng.randrange(count + 1) for _ in good_messages)
    messages: list[Message] = []
    first = 0
    for each, position in zip(good_messages, positions, strict=True):
        messages += [*generated[first:position], each]
        first = position
    return [*messages, *generated[first:]]


def messages(max_size: int = 20) -> st.SearchStrategy[list[Message]]:
    """Return a strategy for lists of hostile messages, which shrink."""
    return st.lists(st.randoms(use_true_random=False).map(_random_message), max_size=max_size)


def _generate(rng: random.Random) -> Iterator[Message]:
    cases = list(every_field())
    rng.shuffle(cases)
    names = list(KINDS)
    for number in count_from():
        schema, name, odd = cases[number % len(cases)]
        yield _surround(rng, f"{schema} {name}: {odd}", _odd_field(rng, schema, name, odd))
        kind = names[number % len(names)]
        yield _surround(rng, kind, KINDS[kind](rng))


def _random_message(rng: random.Random) -> Message:
    if rng.random() < 0.5:
        schema, name, odd = rng.choice(every_field())
        return _surround(rng, f"{schema} {name}: {odd}", _odd_field(rng, schema, name, odd))
    kind = rng.choice(tuple(KINDS))
    return _surround(rng, kind, KINDS[kind](rng))


def _odd_field(rng: random.Random, schema: str, name: str, odd: str) -> bytes:
    return encode(_replaced(_any_sound(rng, schema), name, ODD_VALUES[odd]))


def _surround(rng: random.Random, kind: str, value: bytes | None) -> Message:
    """Return a message with key, headers and timestamp, each of them odd in some."""
    key: bytes | None = f"{SYMBOL}T{rng.randrange(40)}.XXXX".encode()
    if rng.random() < 0.2:
        odd_key = rng.choice((*ODD_IDS, None)) if rng.random() < 0.8 else None
        key = rng.randbytes(8) if rng.random() < 0.1 else odd_key.encode() if odd_key is not None else None
    headers = rng.choice(ODD_HEADERS) if rng.random() < 0.2 else ()
    timestamp_ms = rng.choice(ODD_TIMESTAMPS_MS) if rng.random() < 0.3 else KAFKA_TIMESTAMP_MS
    return Message(kind, key, value, headers, timestamp_ms)


def send(bootstrap_servers: str, topic: str, to_send: Sequence[Message], partition: int = 0) -> list[Message]:
    """Send messages to a partition in order; return those that the broker refused.

    It refuses none if the topic was created with `TOPIC_CONFIG`.
    """
    refused: list[Message] = []
    client = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "compression.type": "zstd",
        }
    )
    for message in to_send:

        def delivered(error: KafkaError | None, _: SentMessage, message: Message = message) -> None:
            if error is not None:
                refused.append(message)

        while True:
            try:
                client.produce(
                    topic,
                    message.value,
                    message.key,
                    partition,
                    delivered,
                    timestamp=message.timestamp_ms,
                    headers=list(message.headers),
                )
                break
            except BufferError:
                client.poll(0.1)
    if left := client.flush(60):
        raise TimeoutError(f"{left} messages were not delivered")
    return refused
