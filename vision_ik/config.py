"""Reading files that users write: every complaint names the key it is about."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Set
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, cast

from vision_ik.errors import ConfigError, VisionIkError


@contextmanager
def at_key(key: str, remedy: str) -> Generator[None]:
    """Turn whatever is wrong with a value into a ConfigError that starts with its key.

    Raises:
        ConfigError: The block raised TypeError, ValueError, AttributeError or a VisionIkError, whose own
            remedy goes before ``remedy``.
    """
    try:
        yield
    except VisionIkError as error:
        raise ConfigError(f"{key}: {error.cause}", error.remedy, key=key) from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{key}: {str(error).rstrip('.')}.", remedy, key=key) from error


def table_at(data: Mapping[str, Any], name: str, remedy: str, prefix: str = "") -> dict[str, Any]:
    """Return the table ``data[name]``, empty when absent.

    Raises:
        ConfigError: The value is no table.
    """
    table = data.get(name, {})
    with at_key(prefix + name, remedy):
        if not isinstance(table, dict):
            raise TypeError(f"it must be a table, not {table!r}")
    return cast("dict[str, Any]", table)


def text(value: object, what: str = "text") -> str:
    """Return ``value`` if it is text that says something.

    Raises:
        TypeError: It is not; the sentence asks for ``what``.
    """
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"it must be {what} in quotes, not {value!r}")
    return value


def number(value: object) -> float:
    """Return ``value`` as a float if it is a finite number.

    Raises:
        TypeError: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"it must be a finite number, not {value!r}")
    return float(value)


def numbers(value: object, n: int | None = None) -> list[float]:
    """Return ``value`` as floats if it is a list of ``n`` finite numbers (None: of any length).

    Raises:
        TypeError: It is something else.
    """
    items = cast("list[object]", value) if isinstance(value, list) else None
    if items is not None and n in (None, len(items)):
        try:
            return [number(item) for item in items]
        except TypeError as error:
            raise TypeError(f"every entry: {error}") from error
    raise TypeError(f"it must be a list of {'' if n is None else f'{n} '}numbers, not {value!r}")


def refuse_unknown(table: Mapping[str, object], known: Set[str], prefix: str = "") -> None:
    """Refuse keys that nobody reads: a misspelt one would silently change the meaning.

    Raises:
        ConfigError: It names the first such key and the nearest known one.
    """
    for name in sorted(table.keys() - known):
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean {prefix}{close[0]}?" if close else "known here are " + ", ".join(sorted(known)) + "."
        raise ConfigError(f"{prefix}{name} is not a known key; {hint}", "Rename or remove it.", key=prefix + name)
