"""What the scenario file's models have in common: values with units, and errors in one line."""
from __future__ import annotations

import ipaddress
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from simcore import units

Rate = Annotated[float, BeforeValidator(units.rate)]
Seconds = Annotated[float, BeforeValidator(units.duration)]
Size = Annotated[int, BeforeValidator(units.size)]
Share = Annotated[float, BeforeValidator(units.share), Field(ge=0, le=1)]
Port = Annotated[int, Field(ge=1, le=65535)]


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


Address = Annotated[str, BeforeValidator(_address)]
Cidr = Annotated[str, BeforeValidator(_interface)]


class Model(BaseModel):
    """Base: unknown keys are errors, names may differ from keys."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


def first_error(error: ValidationError) -> str:
    """What is wrong, in a line: key, then what was expected."""
    first = error.errors()[0]
    at = first["loc"]
    # of a list of several kinds pydantic names the kind behind the number, which the file does not have there
    parts = [part for i, part in enumerate(at) if i < 2 or at[i - 2] != "workloads" or not isinstance(at[i - 1], int)]
    message = {"extra_forbidden": "unknown key", "missing": "is needed here"}.get(first["type"], first["msg"].removeprefix("Value error, "))
    return f"{'.'.join(map(str, parts)) or 'top level'}: {message}".replace("\n", " ")
