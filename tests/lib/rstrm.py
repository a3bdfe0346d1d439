# SPDX-License-Identifier: Apache-2.0
"""The messages of rstrm/1 by Google's Python library, generated from the tree's .proto file."""
import importlib.util
import pathlib
import struct
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ALPN = "rstrm/1"
PAYLOAD_MAX = 65535
CODES = {
    "UNAUTHORIZED": 1000,
    "INVALID_REQUEST": 2000,
    "PROTOCOL_VERSION_MISSING": 2010,
    "PROTOCOL_VERSION_INVALID": 2020,
    "PROTOCOL_VERSION_INCOMPATIBLE": 2030,
    "TUNNEL_NOT_FOUND": 3000,
    "INVALID_STREAM": 4000,
    "FEATURE_NOT_AVAILABLE": 5000,
    "SERVICE_UNAVAILABLE": 6000,
    "CAPACITY_EXHAUSTED": 7000,
}


def _generate():
    with tempfile.TemporaryDirectory(prefix="weir-rstrm-") as directory:
        subprocess.run(
            [
                "/usr/bin/protoc",
                f"--proto_path={ROOT / 'src/proto'}",
                "--proto_path=/usr/include",
                f"--python_out={directory}",
                "rstrm.proto",
            ],
            check=True,
        )
        spec = importlib.util.spec_from_file_location("rstrm_pb2", f"{directory}/rstrm_pb2.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


pb = _generate()


def fill(target, values):
    """Sets fields by name: wrappers from plain values, messages from dicts, lists and maps."""
    for name, value in values.items():
        field = target.DESCRIPTOR.fields_by_name[name]
        place = getattr(target, name)
        if field.label == field.LABEL_REPEATED:
            (place.update if isinstance(value, dict) else place.extend)(value)
        elif field.type != field.TYPE_MESSAGE:
            setattr(target, name, value)
        elif isinstance(value, dict):
            place.SetInParent()
            fill(place, value)
        else:
            place.SetInParent()
            place.value = value


def message(member, **fields):
    """An envelope with one member."""
    envelope = pb.Message()
    part = getattr(envelope, member)
    part.SetInParent()
    fill(part, fields)
    return envelope


def frame(payload):
    """A message, or bytes that may be none, behind their length."""
    data = payload if isinstance(payload, bytes) else payload.SerializeToString()
    return struct.pack(">I", len(data)) + data


def parse(payload):
    """(member, its message) of a payload; (None, None) of an empty one."""
    envelope = pb.Message.FromString(payload)
    member = envelope.WhichOneof("message")
    return member, getattr(envelope, member) if member else None
