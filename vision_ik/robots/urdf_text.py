"""Edit the text of a URDF in place, so that comments, meshes and layout stay as their author left them.

Expat tells where each start tag lies; only the attributes of some are rewritten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A start tag and where it stands in the text, in bytes."""

    start: int
    end: int


@dataclass(slots=True, kw_only=True)
class UrdfText:
    """Places in a URDF that can be edited."""

    data: bytes
    robot: Tag
    joints: dict[str, Tag] = field(default_factory=dict[str, Tag])
    origins: dict[str, Tag] = field(default_factory=dict[str, Tag])
    """By joint; missing where the joint has none."""
    limits: dict[str, Tag] = field(default_factory=dict[str, Tag])
    meshes: list[tuple[Tag, str]] = field(default_factory=list[tuple[Tag, str]])
    """With the file name each one gives."""
    extras: tuple[int, int] | None = None
    """From where to where the element ``<vision_ik>`` reaches."""


def find_tags(data: bytes) -> UrdfText:
    """Return the places of a well-formed URDF in an encoding that extends ASCII."""
    found = UrdfText(data=data, robot=Tag(start=0, end=0))
    parser = expat.ParserCreate()
    stack: list[tuple[str, str]] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        at = Tag(start=parser.CurrentByteIndex, end=_tag_end(data, parser.CurrentByteIndex))
        inside = stack[-1] if stack else ("", "")
        stack.append((tag, attributes.get("name", "")))
        if len(stack) == 1:
            found.robot = at
        elif len(stack) == 2 and tag == "joint":
            found.joints[stack[-1][1]] = at
        elif len(stack) == 2 and tag == "vision_ik":
            found.extras = (at.start, at.end)
        elif len(stack) == 3 and inside[0] == "joint" and tag in ("origin", "limit"):
            (found.origins if tag == "origin" else found.limits)[inside[1]] = at
        elif tag == "mesh":
            found.meshes.append((at, attributes.get("filename", "")))

    def end(tag: str) -> None:
        stack.pop()
        if tag == "vision_ik" and found.extras is not None and not data[: found.extras[1]].endswith(b"/>"):
            found.extras = (found.extras[0], _tag_end(data, parser.CurrentByteIndex))

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.Parse(data, True)
    return found


def apply_edits(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Return ``data`` with the bytes from start to end of each edit replaced; edits do not overlap."""
    for start, end, text in sorted(edits, reverse=True):
        data = data[:start] + text + data[end:]
    return data


def with_attributes(tag: bytes, values: Mapping[str, str]) -> bytes:
    """Return a start tag with attributes set; those it has are replaced where they stand."""
    for name, value in values.items():
        text = f'{name}="{escaped(value)}"'.encode()
        pattern = rb"(?<=\s)" + name.encode() + rb"\s*=\s*(\"[^\"]*\"|'[^']*')"
        tag, count = re.subn(pattern, lambda _, text=text: text, tag, count=1)
        if not count:
            body = tag.rstrip(b">").rstrip(b"/").rstrip()
            tag = body + b" " + text + tag[len(body) :].lstrip()
    return tag


def escaped(value: str) -> str:
    """Return a text as it stands in an attribute."""
    for letter, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        value = value.replace(letter, entity)
    return value


def _tag_end(data: bytes, start: int) -> int:
    """Return where the tag that starts at ``start`` ends, past its ``>``."""
    match = re.compile(rb"<(?:[^>\"']|\"[^\"]*\"|'[^']*')*>").match(data, start)
    return start if match is None else match.end()
