"""What the scenario file's models have in common: values with units, and errors in one line."""
from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails

from simcore import units
from simcore.traffic.distributions import Distribution

Rate = Annotated[float, BeforeValidator(units.rate)]
Seconds = Annotated[float, BeforeValidator(units.duration)]
Size = Annotated[int, BeforeValidator(units.size), Field(le=1 << 62)]
Share = Annotated[float, BeforeValidator(units.share), Field(ge=0, le=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Patience = Annotated[Seconds, Field(gt=0)]
"""Seconds after which it is over."""
INT_MAX = (1 << 31) - 1
"""The most that compiled code counts to."""
Count = Annotated[int, Field(ge=1, le=INT_MAX)]
Durations = Annotated[Distribution, PlainValidator(lambda value: Distribution(value, units.duration))]
Sizes = Annotated[Distribution, PlainValidator(lambda value: Distribution(value, units.size))]
Names = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
"""One or more."""


def _address(value: Any) -> Any:
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise ValueError(f"{value!r} is not an IPv4 address") from None


def _interface(value: Any) -> Any:
    try:
        if "/" not in str(value):
            raise ValueError
        return str(ipaddress.IPv4Interface(value))
    except ValueError:
        raise ValueError(f"{value!r} is not an address in CIDR notation, as 192.168.1.100/24") from None


_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}|[0-9a-f]{2}(?:-[0-9a-f]{2}){5}|[0-9a-f]{4}(?:\.[0-9a-f]{4}){2}", re.IGNORECASE)


def _mac(value: Any) -> str:
    digits = re.sub("[:.-]", "", value.lower()) if isinstance(value, str) and _MAC.fullmatch(value) else ""
    if not digits or int(digits[:2], 16) & 1 or not int(digits, 16):
        raise ValueError(f"{value!r} is not the MAC address of an interface, as 02:42:ac:11:00:02")
    return bytes.fromhex(digits).hex(":")


Address = Annotated[str, BeforeValidator(_address)]
Mac = Annotated[str, BeforeValidator(_mac)]
Cidr = Annotated[str, BeforeValidator(_interface)]


class Model(BaseModel):
    """Base: unknown keys are errors, names may differ from keys."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


_EXPECTED = {"dict_type": "a mapping", "model_type": "a mapping", "model_attributes_type": "a mapping", "list_type": "a list",
             "string_type": "text", "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
             "int_parsing_size": "a smaller number", "float_type": "a number", "float_parsing": "a number", "finite_number": "a number",
             "bool_type": "true or false", "bool_parsing": "true or false", "path_type": "a file's name", "greater_than": "more than {gt}",
             "greater_than_equal": "at least {ge}", "less_than": "less than {lt}", "less_than_equal": "at most {le}",
             "literal_error": "{expected}", "too_short": "at least {min_length} of them"}
"""By pydantic's types of errors."""
_TYPE = re.compile(r"int|float|bool|str|(function-|constrained-|dict\[|list\[).*")
"""By which pydantic says which of a value's types it speaks of."""


def _message(first: ErrorDetails) -> str:
    kind, given = first["type"], first["input"]
    if kind in _EXPECTED:
        expected = "expected " + _EXPECTED[kind].format(**first.get("ctx", {}))
        return f"{given!r}: {expected}" if isinstance(given, str | int | float) else expected
    return {"extra_forbidden": "unknown key", "missing": "is needed here"}.get(kind, first["msg"].removeprefix("Value error, "))


def first_error(error: ValidationError) -> str:
    """What is wrong, in a line: key, then what was expected."""
    first = error.errors()[0]
    at = first["loc"]
    # pydantic names the kind of a workload behind its number, and of a value of several types the one it speaks of
    parts = [str(part) for i, part in enumerate(at) if not (
        i > 1 and at[i - 2] == "workloads" and isinstance(at[i - 1], int) or i > 2 and _TYPE.fullmatch(str(part)))]
    return f"{'.'.join(parts) or 'top level'}: {_message(first)}".replace("\n", " ")
