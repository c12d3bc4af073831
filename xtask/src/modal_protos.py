"""Compares the messages and methods of the Modal backend's client with the descriptors in Modal's own wheel.

usage: modal_protos.py <directory of the client's sources>
"""

import pathlib
import re
import sys
from importlib.metadata import version

from modal_proto import api_pb2, task_command_router_pb2

TYPES = {"string": 9, "int32": 5, "uint32": 13, "uint64": 4, "float": 2, "double": 1, "bool": 8, "bytes": 12}
TYPES |= {"message": 11, "enumeration": 14, "map": 11}
ENUM, NAME = 14, re.compile(r"`([A-Z]\w+(?:\.\w+)*)`")
FILES = (api_pb2.DESCRIPTOR, task_command_router_pb2.DESCRIPTOR)
SERVICES = {"control_plane.rs": "ModalClient", "router.rs": "TaskCommandRouter"}


def parse(text):
    """Yield each struct and enum: its kind, the names it has at Modal, and its fields or variants."""
    docs, block, attribute = [], None, ""
    for line in map(str.strip, text.splitlines()):
        if block is None:
            if line.startswith("///"):
                docs.append(line)
            elif begin := re.match(r"pub\(crate\) (struct|enum) (\w+) \{(\})?", line):
                kind, name, empty = begin.groups()
                block = (kind, name, NAME.findall(" ".join(docs)), [])
                docs = []
                if empty:
                    yield block
                    block = None
            elif not line.startswith("#["):
                # What is outside of the file's own messages.
                docs = [] if line else docs
        elif line == "}":
            yield block
            block = None
        elif line.startswith("#[prost("):
            attribute = line
        elif block[0] == "struct" and (field := re.match(r"pub\(crate\) (\w+):", line)):
            block[3].append((field[1], attribute))
        elif block[0] == "enum" and (variant := re.match(r"(\w+) = (\d+),", line)):
            block[3].append((variant[1], int(variant[2])))


def find(name, kind):
    """The descriptor of a message or an enum, also of one inside of another."""
    first, *inner = name.split(".")
    for file in FILES:
        found = file.message_types_by_name.get(first) or file.enum_types_by_name.get(first)
        for part in inner:
            found = found and (found.nested_types_by_name.get(part) or found.enum_types_by_name.get(part))
        if found is not None and hasattr(found, "fields") == (kind == "struct"):
            return found
    return None


def compare_message(descriptor, fields):
    for name, attribute in fields:
        number = int(re.search(r'tag = "(\d+)"', attribute)[1])
        theirs = descriptor.fields_by_number.get(number)
        if theirs is None or theirs.name != name:
            where = descriptor.fields_by_name.get(name)
            now = f"but {where.number}" if where else "it is gone"
            yield f"{descriptor.name}.{name}: not field {number}, {now}"
            continue
        kind = re.match(r"#\[prost\((\w+)", attribute)[1]
        if theirs.type != TYPES[kind] and not (kind == "int32" and theirs.type == ENUM):
            yield f"{descriptor.name}.{name}: has another type than {kind}"
        is_repeated = " repeated" in attribute or kind == "map"
        if is_repeated != theirs.is_repeated:
            yield f"{descriptor.name}.{name}: is repeated in one of the two only"


def compare_enum(descriptor, variants):
    for name, number in variants:
        theirs = descriptor.values_by_number.get(number)
        upper = re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
        if theirs is None or not (theirs.name == upper or theirs.name.endswith("_" + upper)):
            yield f"{descriptor.name}: {number} is {theirs.name if theirs else 'gone'}, not {upper}"


def compare_methods(source, service_name, known):
    service = next(f.services_by_name[service_name] for f in FILES if service_name in f.services_by_name)
    names = set(re.findall(r'(?<!debug_struct\()"((?:[A-Z][a-z0-9]+){2,})"', source))
    for name in sorted(names):
        method = service.methods_by_name.get(name)
        if method is None:
            yield f"{service_name}.{name}: gone"
            continue
        for message in (method.input_type, method.output_type):
            is_empty = message.full_name == "google.protobuf.Empty"
            if message.name not in known and not is_empty:
                yield f"{service_name}.{name}: {message.name} is not written down"
    if not names:
        yield f"{service_name}: no method is called"


def main(directory):
    problems, known, count = [], set(), 0
    for kind, name, others, content in parse((directory / "messages.rs").read_text()):
        if any(other.startswith("google.") for other in others) or name in ("RpcStatus", "Any"):
            continue
        descriptors = [find(other, kind) for other in {name, *others}]
        descriptors = [found for found in descriptors if found is not None]
        if not descriptors:
            problems.append(f"{name}: there is no such {'message' if kind == 'struct' else 'enum'}")
        for descriptor in descriptors:
            known.add(descriptor.name)
            count += len(content)
            compare = compare_message if kind == "struct" else compare_enum
            problems.extend(compare(descriptor, content))
    for file, service in SERVICES.items():
        problems.extend(compare_methods((directory / file).read_text(), service, known))
    if problems or count < 100:
        sys.exit("\n".join([f"the interface in modal {version('modal')} is another:", *problems]))
    print(f"{len(known)} messages and enums, {count} fields and values: as in modal {version('modal')}")


main(pathlib.Path(sys.argv[1]))
