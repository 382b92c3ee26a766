"""Compiles a message's declaration into its `decode` and `encode`.

Strategy: a declaration is cut in two: the fields of fixed size, which become one `struct.Struct`, and after
them the counted ones, with at most some padding at the end. From both, a few lines of Python are generated
and compiled, with every name and number taken from the declaration. For the quorum event of votequorum:

    def decode(data):
        if len(data) < 48: raise short(data)
        id, size, error, quorate, context, node_list_entries, = unpack(data)
        if size != len(data): raise wrong_size(data, size)
        if id != 3: raise wrong_id(id)
        if size != 48 + 8 * node_list_entries: raise wrong_count(size, locals())
        if node_list_entries > 386: raise too_many_node_list(node_list_entries)
        return new(record, (error, quorate, context, read_node_list(data, 48, node_list_entries)))

The field types decide what a value looks like: `read_...` and `write_...` are theirs. Declarations are
compiled because construct's interpreter takes about twenty times longer. A property test holds the two equal.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import construct as c

from ..errors import InvalidParam, MessageError
from .fields import CountedField, CountOf, FixedField, bare, part_names, struct_format


class _Shape:
    """A declaration, cut into its fields of fixed size and its counted fields."""

    def __init__(self, title: str, declaration: c.Struct) -> None:
        self.title = title
        self.fixed: list[tuple[str | None, c.Construct]] = []
        self.counted: dict[str, CountedField] = {}
        self.trailing = 0
        """Bytes of padding after the last counted field."""
        for field in declaration.subcons:
            if isinstance(bare(field), CountedField):
                self.counted[field.name] = bare(field)
            elif not self.counted:
                self.fixed.append((field.name, bare(field)))
            elif field.name is None:
                self.trailing += int(field.sizeof())
            else:
                raise TypeError(f"{title}.{field.name} is behind a counted field")
        self.struct = struct.Struct("=" + "".join(struct_format(field) for _, field in self.fixed))
        self.least_size = self.struct.size + self.trailing

    def named(self) -> list[tuple[str, c.Construct]]:
        """The fields of fixed size without the padding."""
        return [(name, field) for name, field in self.fixed if name]

    def slots(self) -> str:
        """The variables that the fields of fixed size unpack to."""
        return "".join(f"{slot}, " for name, field in self.named() for slot in _slots(name, field))

    def values(self, scope: dict[str, Any]) -> dict[str, str]:
        """For each field of fixed size the expression that reads it. `scope` gets the readers."""
        values = {}
        for name, field in self.named():
            values[name] = name
            if isinstance(field, FixedField):
                scope[f"read_{name}"] = field.reader(self.where(name))
                values[name] = f"read_{name}({', '.join(_slots(name, field))})"
        return values

    def where(self, name: str) -> str:
        """How errors name a field."""
        return f"{self.title}.{name}"


def _slots(name: str, field: c.Construct) -> list[str]:
    return [f"{name}_{part}" if part else name for part in part_names(field)]


def derive_decode(title: str, declaration: c.Struct, id_: int, record: Any) -> Callable[[bytes], Any]:
    """A function from bytes to a `record`. It raises `MessageError` for anything but this message."""
    shape = _Shape(title, declaration)
    scope: dict[str, Any] = {
        "record": record,
        "new": tuple.__new__,
        "unpack": shape.struct.unpack_from,
    } | _errors(shape, id_)
    values = shape.values(scope)
    sizes, limits, start = [str(shape.least_size)], [], str(shape.struct.size)
    for name, counted in shape.counted.items():
        count = counted.count_field or f"size - {shape.least_size}"
        scope |= {f"read_{name}": counted.reader(), f"too_many_{name}": _too_many(shape, name, counted)}
        values[name] = f"read_{name}(data, {start}, {count})"
        limits.append(f"    if {count} > {counted.most}: raise too_many_{name}({count})")
        start += f" + {counted.width} * {count}"
        if counted.count_field:
            sizes.append(f"{counted.width} * {count}")
    open_end = any(counted.count_field is None for counted in shape.counted.values())
    lines = [
        "def decode(data):",
        f"    if len(data) < {shape.least_size}: raise short(data)",
        f"    {shape.slots()}= unpack(data)",
        "    if size != len(data): raise wrong_size(data, size)",
        f"    if id != {id_}: raise wrong_id(id)",
        f"    if size {'<' if open_end else '!='} {' + '.join(sizes)}: raise wrong_count(size, locals())",
        *limits,
        # Without the named tuple's own `__new__`, which is a function in Python.
        f"    return new(record, ({''.join(values[name] + ', ' for name in record._fields)}))",
    ]
    return _compile(lines, f"<{title}: derived decode>", scope)


def derive_encode(
    title: str, declaration: c.Struct, id_: int, names: Sequence[str], defaults: Mapping[str, Any]
) -> Callable[..., bytes]:
    """A function from the fields called `names`, by keyword, to bytes. It raises `InvalidParam` for a bad
    value."""
    shape = _Shape(title, declaration)
    scope: dict[str, Any] = {"pack": shape.struct.pack, "refused": (struct.error, TypeError, AttributeError)}
    sizes = [str(shape.least_size)]
    for name, counted in shape.counted.items():
        scope[f"write_{name}"] = counted.writer(shape.where(name))
        sizes.append(f"{counted.width} * len({name})")
    packs = {"id": str(id_), "size": " + ".join(sizes)}
    for name, field in shape.named():
        if isinstance(field, CountOf):
            packs[name] = f"len({field.of})"
        elif isinstance(field, FixedField):
            scope[f"write_{name}"] = field.writer(shape.where(name))
            packs[name] = f"*write_{name}({name})"
        else:
            packs.setdefault(name, name)
    parts = [f"pack({', '.join(packs[name] for name, _ in shape.named())})"]
    parts += [f"write_{name}({name})" for name in shape.counted]
    parts += [f"bytes({shape.trailing})"] if shape.trailing else []
    parameters = [f"{name}={defaults[name]}" if name in defaults else name for name in names]
    scope["wrong_value"] = _wrong_value(shape, names)
    lines = [
        f"def encode({'*, ' if parameters else ''}{', '.join(parameters)}):",
        "    try:",
        f"        return {' + '.join(parts)}",
        "    except refused as problem:",
        "        raise wrong_value(locals()) from problem",
    ]
    return _compile(lines, f"<{title}: derived encode>", scope)


def derive_read(title: str, declaration: c.Struct) -> Callable[[bytes], tuple[Any, ...]]:
    """A function from a struct's bytes to the values of its named fields, in order.

    All its fields have a fixed size. The function raises `MessageError` for a field that cannot be read, and
    `struct.error` for more or fewer bytes than the struct has.
    """
    shape = _Shape(title, declaration)
    scope: dict[str, Any] = {"unpack": shape.struct.unpack}
    lines = [
        "def read(data):",
        f"    {shape.slots()}= unpack(data)",
        f"    return ({''.join(value + ', ' for value in shape.values(scope).values())})",
    ]
    return _compile(lines, f"<{title}: derived read>", scope)


def _compile(lines: list[str], title: str, scope: dict[str, Any]) -> Callable[..., Any]:
    exec(compile("\n".join(lines), title, "exec"), scope)
    function: Callable[..., Any] = scope[lines[0].removeprefix("def ").partition("(")[0]]
    return function


# --- Errors: details are worked out only after something has gone wrong ---------------------------------


def _errors(shape: _Shape, id_: int) -> dict[str, Callable[..., MessageError]]:
    size_field = shape.where("size")
    counts = [field.count_field for field in shape.counted.values() if field.count_field]

    def short(data: bytes) -> MessageError:
        return MessageError(f"{len(data)} bytes, but it needs {shape.least_size}", field=size_field)

    def wrong_size(data: bytes, size: int) -> MessageError:
        return MessageError(f"says {size}, but the message has {len(data)} bytes", field=size_field)

    def wrong_id(id_there: int) -> MessageError:
        return MessageError(f"{id_there} instead of {id_}", field=shape.where("id"))

    def wrong_count(size: int, values: Mapping[str, Any]) -> MessageError:
        if not counts:
            return MessageError(f"{size} instead of {shape.least_size}", field=size_field)
        said = ", ".join(f"{count} {values[count]}" for count in counts)
        return MessageError(f"{said} do not match a size of {size}", field=shape.where("/".join(counts)))

    return {"short": short, "wrong_size": wrong_size, "wrong_id": wrong_id, "wrong_count": wrong_count}


def _too_many(shape: _Shape, name: str, field: CountedField) -> Callable[[int], MessageError]:
    return lambda count: field.too_many(count, shape.where(field.count_field or name))


def _wrong_value(shape: _Shape, names: Sequence[str]) -> Callable[[Mapping[str, Any]], InvalidParam]:
    """Names the first field whose value cannot be written."""
    writers: dict[str, Callable[[Any], object]] = {
        name: field.writer(shape.where(name)) for name, field in shape.counted.items()
    }
    for name, field in shape.named():
        writers[name] = _packer(field, shape.where(name))

    def wrong_value(values: Mapping[str, Any]) -> InvalidParam:
        for name in names:
            try:
                writers[name](values[name])
            except (struct.error, TypeError, AttributeError):
                return InvalidParam(f"{shape.title}: {name} cannot be {values[name]!r}")
            except InvalidParam as problem:
                return problem
        return InvalidParam(f"{shape.title}: its fields do not fit")

    return wrong_value


def _packer(field: c.Construct, where: str) -> Callable[[Any], bytes]:
    pack = struct.Struct("=" + struct_format(field)).pack
    if isinstance(field, FixedField):
        write = field.writer(where)
        return lambda value: pack(*write(value))
    return lambda value: pack(value)
