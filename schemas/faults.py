"""What is wrong with a message, said without a word of it."""

from pydantic import ValidationError

_MAX_FAULTS = 8


def faults(error: ValidationError) -> str:
    """Say which fields are wrong and how, in names of the schema alone: what a sender wrote may name a patient."""
    return "; ".join(
        _fault(fault["type"], fault["loc"])
        for fault in error.errors(include_url=False, include_context=False, include_input=False)[:_MAX_FAULTS]
    )


def _fault(kind: str, place: tuple[int | str, ...]) -> str:
    if kind == "json_invalid":
        return "not JSON"
    names = [str(step) for step in place]
    if kind == "extra_forbidden":
        names[-1] = "*"
    return f"{'.'.join(names) or 'record'}: {kind}"
