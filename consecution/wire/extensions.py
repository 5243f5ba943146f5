"""The extension table: Python values that MessagePack has no type for, as bytes and back.

Rules of this module: pure; a tag is never given another meaning, new meanings take new tags. Each writer takes the
value and gives its payload; each reader takes a payload from anywhere and gives the value or raises. Containers and
registered classes hold values of their own, so the codec reads and writes them; only their tags stand here.

| tag | type | payload |
|---|---|---|
| 1 | datetime | year u16, month, day, hour, minute, second u8, microsecond u32, fold u8, zone |
| 2 | date | year u16, month u8, day u8 |
| 3 | time | hour, minute, second u8, microsecond u32, fold u8, zone |
| 4 | timedelta | days i32, seconds i32, microseconds i32 |
| 5 | Decimal | its text, ASCII (sign, exponent and NaN payload kept) |
| 6 | UUID | 16 bytes |
| 7 | tuple | its items as a packed array |
| 8 | set | its items as a packed array, ordered by their packed bytes: equal sets pack alike in every process |
| 9 | frozenset | as set |
| 10 | int outside of 64 bits | two's complement, big-endian |
| 11 | complex | two doubles |
| 12 | bytearray | its bytes |
| 13 | registered class | packed array of the registered name and the plain value |

Zone: empty (naive) · ``U`` (datetime.timezone.utc) · ``O``, seconds i32, microseconds i32, name in UTF-8 (a fixed
offset) · ``Z`` and the key in UTF-8 (zoneinfo.ZoneInfo).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

Writer: TypeAlias = Callable[[Any], bytes]
Reader: TypeAlias = Callable[[bytes], object]

DATETIME, DATE, TIME, TIMEDELTA, DECIMAL, UUID_, TUPLE, SET, FROZENSET, BIG_INT, COMPLEX, BYTEARRAY, REGISTERED = range(
    1, 14
)

_DATETIME = struct.Struct(">HBBBBBIB")
_DATE = struct.Struct(">HBB")
_TIME = struct.Struct(">BBBIB")
_TIMEDELTA = struct.Struct(">iii")
_OFFSET = struct.Struct(">ii")
_COMPLEX = struct.Struct(">dd")


class ZoneRefused(TypeError):
    """A tzinfo that is neither a fixed offset nor a zone with a key."""


def write_zone(zone: tzinfo | None) -> bytes:
    """Give the bytes of a zone; ZoneRefused for any tzinfo that another process couldn't make again."""
    if zone is None:
        return b""
    if zone is UTC:
        return b"U"
    if type(zone) is timezone:
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
        seconds = offset.days * 86_400 + offset.seconds
        return b"O" + _OFFSET.pack(seconds, offset.microseconds) + (name[0].encode() if name else b"")
    if type(zone) is ZoneInfo and zone.key is not None:
        return b"Z" + zone.key.encode()
    raise ZoneRefused


def read_zone(data: bytes) -> tzinfo | None:
    """Give the zone that `write_zone` wrote; ValueError for other bytes, ZoneInfoNotFoundError for an unknown key."""
    kind, rest = data[:1], data[1:]
    if not kind:
        return None
    if data == b"U":
        return UTC
    if kind == b"O":
        seconds, microseconds = _OFFSET.unpack_from(rest)
        offset, name = timedelta(seconds=seconds, microseconds=microseconds), rest[_OFFSET.size :]
        return timezone(offset, name.decode()) if name else timezone(offset)
    if kind == b"Z":
        return ZoneInfo(rest.decode())
    message = f"unknown kind of zone {kind!r}"
    raise ValueError(message)


def write_datetime(value: datetime) -> bytes:
    """Give tag 1's payload."""
    fields = _DATETIME.pack(
        value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond, value.fold
    )
    return fields + write_zone(value.tzinfo)


def read_datetime(data: bytes) -> datetime:
    """Read tag 1's payload."""
    year, month, day, hour, minute, second, microsecond, fold = _DATETIME.unpack_from(data)
    zone = read_zone(data[_DATETIME.size :])
    return datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def write_time(value: time) -> bytes:
    """Give tag 3's payload."""
    fields = _TIME.pack(value.hour, value.minute, value.second, value.microsecond, value.fold)
    return fields + write_zone(value.tzinfo)


def read_time(data: bytes) -> time:
    """Read tag 3's payload."""
    hour, minute, second, microsecond, fold = _TIME.unpack_from(data)
    return time(hour, minute, second, microsecond, read_zone(data[_TIME.size :]), fold=fold)


def write_int(value: int) -> bytes:
    """Give tag 10's payload: the shortest two's complement with room for the sign."""
    return value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)


def read_timedelta(data: bytes) -> timedelta:
    """Read tag 4's payload."""
    days, seconds, microseconds = _TIMEDELTA.unpack(data)
    return timedelta(days, seconds, microseconds)


WRITERS: dict[type, tuple[int, Writer]] = {
    datetime: (DATETIME, write_datetime),
    date: (DATE, lambda value: _DATE.pack(value.year, value.month, value.day)),
    time: (TIME, write_time),
    timedelta: (TIMEDELTA, lambda value: _TIMEDELTA.pack(value.days, value.seconds, value.microseconds)),
    Decimal: (DECIMAL, lambda value: str(value).encode("ascii")),
    UUID: (UUID_, lambda value: value.bytes),
    int: (BIG_INT, write_int),
    complex: (COMPLEX, lambda value: _COMPLEX.pack(value.real, value.imag)),
    bytearray: (BYTEARRAY, bytes),
}

READERS: dict[int, Reader] = {
    DATETIME: read_datetime,
    DATE: lambda data: date(*_DATE.unpack(data)),
    TIME: read_time,
    TIMEDELTA: read_timedelta,
    DECIMAL: lambda data: Decimal(data.decode("ascii")),
    UUID_: lambda data: UUID(bytes=data),
    BIG_INT: lambda data: int.from_bytes(data, "big", signed=True),
    COMPLEX: lambda data: complex(*_COMPLEX.unpack(data)),
    BYTEARRAY: bytearray,
}

NATIVE: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes, list, dict})
CONTAINERS: dict[type, int] = {tuple: TUPLE, set: SET, frozenset: FROZENSET}
BUILDERS: dict[int, Callable[[list[Any]], object]] = {TUPLE: tuple, SET: set, FROZENSET: frozenset}
