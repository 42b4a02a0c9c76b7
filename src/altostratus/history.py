"""What was deployed when, by whom, from which file and images: a bounded list, oldest first.

The stack keeps it, in an output that each request for the stack carries on: so it is written when
the overcloud is, or not at all.
"""

import collections.abc
import dataclasses
import datetime
import hashlib
import json

from altostratus import releases
from altostratus.model import Image
from altostratus.plan import Plan
from altostratus.yamlfile import Document

# Heat takes templates of half a MiB; that of the control plane is a fifth of that.
_MOST_ENTRIES = 50
_MOST_BYTES = 192 << 10
_SHOWN = 12


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One request for the stack: ``when`` in UTC, ``who`` as user@host, ``why`` as the plan had it,
    ``images`` by instance."""

    when: str
    who: str
    file: str
    file_digest: str
    why: str
    images: dict[str, Image]


def entry(made: Plan, why: str, document: Document, who: str, when: datetime.datetime) -> Entry:
    """The entry of a plan that is carried out."""
    digest = hashlib.sha256(document.text.encode()).hexdigest()
    moment = when.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Entry(moment, who, document.file, digest, why, made.images)


def extended(entries: collections.abc.Sequence[Entry], new: Entry) -> tuple[Entry, ...]:
    """The history with one more entry, and without the oldest ones if it gets too large."""
    kept = [*entries, new][-_MOST_ENTRIES:]
    while len(kept) > 1 and len(to_output(kept)) > _MOST_BYTES:
        del kept[0]
    return tuple(kept)


def to_output(entries: collections.abc.Iterable[Entry]) -> str:
    """The history as the stack keeps it: text, in which Heat looks for no functions of its own."""
    return json.dumps([dataclasses.asdict(one) for one in entries], separators=(",", ":"))


def parse(output: str | None) -> tuple[Entry, ...]:
    """The history in a stack's output; what later versions may add to entries is passed over."""
    return tuple(
        Entry(
            when=one["when"],
            who=one["who"],
            file=one["file"],
            file_digest=one["file_digest"],
            why=one["why"],
            images={
                name: Image(image["name"], image["digest"], image.get("release", releases.LATEST))
                for name, image in one["images"].items()
            },
        )
        for one in json.loads(output or "[]")
    )


def to_text(overcloud: str, entries: collections.abc.Sequence[Entry]) -> str:
    """The history for people, the newest first."""
    if not entries:
        return f"Overcloud {overcloud}: no history; it is not there, or was deployed without one\n"
    rows = [("WHEN", "WHO", "FILE", "WHY"), *map(_row, entries)]
    when, who, file, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    heading, *lines = [
        f"{row[0]:{when}}  {row[1]:{who}}  {row[2]:{file}}  {row[3]}" for row in rows
    ]
    shown = [f"Overcloud {overcloud}: what was deployed, the last first", heading]
    for line, (one, before) in reversed(list(zip(lines, _pairs(entries), strict=True))):
        shown += [line, *_image_lines(one, before)]
    return "\n".join(shown) + "\n"


def to_json(entries: collections.abc.Sequence[Entry]) -> str:
    """The history for programs, the newest first; ``changed`` are the instances whose image is
    another than in the entry before."""
    found = [
        dataclasses.asdict(one) | {"changed": _changed(one, before)}
        for one, before in _pairs(entries)
    ]
    return json.dumps(found[::-1], indent=2, sort_keys=True) + "\n"


def _pairs(entries: collections.abc.Sequence[Entry]) -> list[tuple[Entry, Entry | None]]:
    """Each entry and the one before."""
    return list(zip(entries, (None, *entries), strict=False))


def _row(one: Entry) -> tuple[str, ...]:
    return one.when, one.who, f"{one.file} ({one.file_digest[:_SHOWN]})", one.why


def _changed(one: Entry, before: Entry | None) -> list[str]:
    earlier = before.images if before else {}
    names = sorted(one.images.keys() | earlier.keys())
    return [name for name in names if one.images.get(name) != earlier.get(name)]


def _image_lines(one: Entry, before: Entry | None) -> list[str]:
    names = _changed(one, before)
    width = max(map(len, names), default=0)
    return [f"    {name:{width}}  {_image_change(name, one, before)}" for name in names]


def _image_change(name: str, one: Entry, before: Entry | None) -> str:
    image, earlier = one.images.get(name), before.images.get(name) if before else None
    if image is None:
        return "is gone"
    return f"{_shown(image)}, was {_shown(earlier)}" if earlier else _shown(image)


def _shown(image: Image) -> str:
    return f"{image.name} {image.release} ({image.digest[:_SHOWN]})"
