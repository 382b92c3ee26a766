"""Derives a message's `decode` and `encode` from its construct declaration.

Strategy: the declaration is cut into the part of fixed size, which becomes one `struct.Struct`, and what
follows: lists whose counts stand in the fixed part, and at most some padding. From both, a few lines of
Python are written and compiled once, with every name and number taken from the declaration:

    def decode(data):
        if len(data) < 48: raise short(data)
        id, size, error, quorate, context, node_list_entries = unpack(data)
        if size != len(data): ...
        if 48 + 8 * node_list_entries != size: ...
        return record(error, quorate, context, items(data, 48, node_list_entries))

What went wrong with a value that does not pack is worked out only after it failed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import construct as c

from ..errors import InvalidParam, MessageError
from .layout import (
    CS_OK,
    BytesOf,
    CharArray,
    CountOf,
    Kind,
    Layout,
    ListOf,
    MarName,
    RestOfMessage,
    Tupled,
    fixed_size,
    name_from_mar,
    name_to_mar,
    struct_format,
    text_from_array,
    text_to_array,
)


@dataclass
class _Plan:
    """What the walk over a declaration found: code fragments, and the objects that they name."""

    layout: Layout
    format: str = "="
    slots: list[str] = field(default_factory=list)
    """Variables that the fixed part unpacks to, in order."""
    values: dict[str, str] = field(default_factory=dict)
    """Field of the record: expression over those variables."""
    packs: list[str] = field(default_factory=list)
    """Expressions that the fixed part packs, in order."""
    counts: dict[str, str] = field(default_factory=dict)
    """List: the field that counts it."""
    tails: list[tuple[str, Any]] = field(default_factory=list)
    """What follows the fixed part, in order."""
    trailing: int = 0
    """Padding behind the last list."""
    scope: dict[str, Any] = field(default_factory=dict)


def derive_decode(layout: Layout) -> Callable[[bytes], Any]:
    """The function behind `Layout.decode`."""
    plan = _make_plan(layout)
    terms = [str(layout.least_size)]
    arguments = dict(plan.values)
    start = str(struct.calcsize(plan.format))
    for name, tail in plan.tails:
        if isinstance(tail, RestOfMessage):
            arguments[name] = f"data[{start}:]"
            continue
        width = _item_size(tail)
        count = plan.counts[name]
        plan.scope[f"read_{name}"] = _reader(tail)
        arguments[name] = f"read_{name}(data, {start}, {count})"
        terms.append(f"{width} * {count}")
        start = f"{start} + {width} * {count}"
    rest = any(isinstance(tail, RestOfMessage) for _, tail in plan.tails)
    compare = "<" if rest else "!="
    lines = [
        "def decode(data):",
        f"    if len(data) < {layout.least_size}: raise short(data)",
        f"    {', '.join(plan.slots)}, = unpack(data)",
        "    if size != len(data): raise wrong_size(data, size)",
        f"    if id != {layout.id}: raise wrong_id(id)",
        f"    if size {compare} {' + '.join(terms)}: raise wrong_count(size, locals())",
        f"    return record({', '.join(arguments[name] for name in layout.record._fields)})",
    ]
    plan.scope |= {
        "record": layout.record,
        "unpack": struct.Struct(plan.format).unpack_from,
        **_complaints(layout, plan),
    }
    return _compile(lines, "decode", plan)


def derive_encode(layout: Layout) -> Callable[..., bytes]:
    """The function behind `Layout.encode`."""
    plan = _make_plan(layout)
    parameters = [
        f"error={CS_OK}" if name == "error" and layout.kind is not Kind.REQUEST else name
        for name in layout.record._fields
    ]
    parts = ["pack(" + ", ".join(plan.packs) + ")"]
    terms = [str(layout.least_size)]
    for name, tail in plan.tails:
        plan.scope[f"write_{name}"] = _writer(tail)
        parts.append(f"write_{name}({name})")
        terms.append(f"{_item_size(tail)} * len({name})")
    if plan.trailing:
        parts.append(f"bytes({plan.trailing})")
    lines = [
        f"def encode({'*, ' if parameters else ''}{', '.join(parameters)}):",
        "    try:",
        f"        return {' + '.join(parts)}",
        "    except (struct_error, TypeError, AttributeError) as problem:",
        "        raise wrong_value(locals()) from problem",
    ]
    plan.scope |= {
        "pack": struct.Struct(plan.format).pack,
        "struct_error": struct.error,
        **_complaints(layout, plan),
    }
    lines = [line.replace("SIZE", " + ".join(terms)) for line in lines]
    return _compile(lines, "encode", plan)


def _compile(lines: list[str], name: str, plan: _Plan) -> Callable[..., Any]:
    exec(compile("\n".join(lines), f"<{plan.layout}: derived {name}>", "exec"), plan.scope)
    function: Callable[..., Any] = plan.scope[name]
    return function


# --- The walk over a declaration ------------------------------------------------------------------------


def _make_plan(layout: Layout) -> _Plan:
    plan = _Plan(layout)
    for subcon in layout.construct.subcons:
        bare = subcon.subcon if isinstance(subcon, c.Renamed) else subcon
        if plan.tails and not subcon.name:
            plan.trailing = fixed_size(subcon) or 0
        elif isinstance(bare, ListOf | BytesOf | RestOfMessage):
            plan.tails.append((subcon.name, bare))
        else:
            _plan_fixed(plan, subcon.name, bare)
    return plan


def _plan_fixed(plan: _Plan, name: str | None, bare: c.Construct) -> None:
    if name is None:
        plan.format += f"{bare.sizeof()}x"
        return
    where = repr(f"{plan.layout}.{name}")
    match bare:
        case CountOf():
            plan.counts[bare.of] = name
            _add(plan, bare.subcon.fmtstr[-1], name, f"len({bare.of})")
        case c.FormatField():
            _add(plan, bare.fmtstr[-1], name, _packed(plan.layout, name))
            plan.values[name] = name
        case CharArray():
            plan.scope |= {"text_from": text_from_array, "text_to": text_to_array}
            _add(plan, f"{bare.length}s", name, f"text_to({name}, {bare.length}, {where})")
            plan.values[name] = f"text_from({name}, {where})"
        case MarName():
            plan.scope |= {"name_from": name_from_mar, "name_to": name_to_mar}
            _add(plan, "H", f"{name}_length", f"len(name_to({name}, {where}))")
            plan.format += "6x"
            _add(plan, f"{bare.LENGTH}s", name, f"name_to({name}, {where})")
            plan.values[name] = f"name_from({name}_length, {name}, {where})"
        case Tupled():
            _plan_nested(plan, name, bare)
        case _:
            raise TypeError(f"{where}: no field type that can be derived: {bare!r}")


def _packed(layout: Layout, name: str) -> str:
    return {"id": str(layout.id), "size": "SIZE"}.get(name, name)


def _add(plan: _Plan, format_: str, slot: str, pack: str) -> None:
    plan.format += format_
    plan.slots.append(slot)
    plan.packs.append(pack)


def _plan_nested(plan: _Plan, name: str, bare: Tupled) -> None:
    plan.scope[f"make_{name}"] = bare.record
    plan.format += struct_format(bare.subcon.subcons)
    inner = [f"{name}_{subcon.name}" for subcon in bare.subcon.subcons if subcon.name]
    plan.slots += inner
    # Unpacked whole, so that one item too many is an error, like one too few.
    plan.packs.append(f"*{name}")
    plan.values[name] = f"make_{name}({', '.join(inner)})"


# --- What follows the fixed part ------------------------------------------------------------------------


def _item_format(tail: ListOf) -> str:
    item = tail.subcon
    return struct_format(item.subcon.subcons) if isinstance(item, Tupled) else str(item.fmtstr[-1])


def _item_size(tail: c.Construct) -> int:
    return struct.calcsize("=" + _item_format(tail)) if isinstance(tail, ListOf) else 1


def _reader(tail: c.Construct) -> Callable[[bytes, int, int], Any]:
    if isinstance(tail, BytesOf):
        return lambda data, start, count: data[start : start + count]
    format_ = _item_format(tail)
    if not isinstance(tail.subcon, Tupled):
        return lambda data, start, count: struct.unpack_from(f"={count}{format_}", data, start)
    items = struct.Struct("=" + format_)
    # Plain tuples, which equal the named ones of the declaration: naming hundreds of them would take longer
    # than all the rest.
    return lambda data, start, count: tuple(items.iter_unpack(data[start : start + count * items.size]))


def _writer(tail: c.Construct) -> Callable[[Any], bytes]:
    if not isinstance(tail, ListOf):
        return bytes
    format_ = _item_format(tail)
    if not isinstance(tail.subcon, Tupled):
        return lambda items: struct.pack(f"={len(items)}{format_}", *items)
    pack = struct.Struct("=" + format_).pack
    return lambda items: b"".join(pack(*item) for item in items)


# --- Saying what is wrong -------------------------------------------------------------------------------


def _complaints(layout: Layout, plan: _Plan) -> dict[str, Callable[..., Exception]]:
    minimum = layout.least_size

    def short(data: bytes) -> MessageError:
        return MessageError(f"{len(data)} bytes, but it takes {minimum}", field=f"{layout}.size")

    def wrong_size(data: bytes, size: int) -> MessageError:
        return MessageError(f"says {size}, but {len(data)} bytes are there", field=f"{layout}.size")

    def wrong_id(id_: int) -> MessageError:
        return MessageError(f"{id_} instead of {layout.id}", field=f"{layout}.id")

    def wrong_count(size: int, values: dict[str, Any]) -> MessageError:
        if not plan.counts:
            return MessageError(f"{size} instead of {minimum}", field=f"{layout}.size")
        said = ", ".join(f"{count} {values[count]}" for count in plan.counts.values())
        names = "/".join(plan.counts.values())
        return MessageError(f"{said} do not make up a size of {size}", field=f"{layout}.{names}")

    def wrong_value(values: dict[str, Any]) -> InvalidParam:
        return InvalidParam(f"{layout}: {_bad_field(layout, values)}")

    return {
        "short": short,
        "wrong_size": wrong_size,
        "wrong_id": wrong_id,
        "wrong_count": wrong_count,
        "wrong_value": wrong_value,
    }


def _bad_field(layout: Layout, values: dict[str, Any]) -> str:
    """Names the first field that construct will not build from its value."""
    for subcon in layout.construct.subcons:
        if subcon.name in layout.record._fields:
            value = values[subcon.name]
            try:
                _build(subcon, value)
            except Exception:  # construct raises its own errors and whatever the value's type raises
                return f"{subcon.name} cannot be {value!r}"
    return "its fields do not fit"


def _build(subcon: c.Renamed, value: Any) -> None:
    if isinstance(subcon.subcon, RestOfMessage):
        # construct would take a number for as many bytes as it needs.
        len(value)
    count = getattr(subcon.subcon, "count_field", None)
    subcon.build(value, **({count: len(value)} if count else {}))
