"""What happens, said to people in the hall: token numbers and doctors' names, never a patient."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas.words import PreemptionReason, PromotionReason, RejectionReason, Source
from services.demo.board import Board, Department
from services.simulator.play import Happening, What


class Line(NamedTuple):
    """One happening in words.

    Attributes:
        at_ms: virtual time, since the day's midnight.
        kind: the event's type.
        is_alarm: whether it must be seen, whatever else happens.
    """

    at_ms: int
    department: str
    kind: str
    text: str
    style: str
    is_alarm: bool = False


REFUSALS = {
    RejectionReason.DUPLICATE_COMMAND: "sent twice",
    RejectionReason.ID_REUSED: "its id was used before",
    RejectionReason.DATE_IN_PAST: "the date is past",
    RejectionReason.DATE_TOO_FAR: "the date is too far ahead",
    RejectionReason.DEPARTMENT_UNKNOWN: "there is no such department",
    RejectionReason.SLOT_UNKNOWN: "nobody works that slot",
    RejectionReason.SLOT_CLOSED: "the slot is closed",
    RejectionReason.DOCTOR_UNKNOWN: "there is no such doctor",
    RejectionReason.DUPLICATE_PATIENT: "the patient has a token already",
    RejectionReason.WAITLIST_FULL: "the waitlist is full",
    RejectionReason.TOKEN_UNKNOWN: "there is no such token",
    RejectionReason.INVALID_TRANSITION: "the token is past that",
    RejectionReason.QUEUE_EMPTY: "nobody waits for that doctor",
    RejectionReason.DEPARTMENT_FULL: "the department has too many doctors",
}
_COMMANDS = {
    "RegisterDoctor": "a registration",
    "RequestToken": "a request",
    "CancelToken": "a cancellation",
    "MarkNoShow": "a no-show",
    "CheckIn": "a check-in",
    "CallNext": "a call",
    "CompleteConsultation": "an end of consultation",
    "SetSlotCapacity": "a change of seats",
    "SetDoctorAvailability": "a change of roster",
    "CloseSlot": "a closing",
}
_PROMOTIONS = {
    PromotionReason.CANCELLATION: "somebody cancelled",
    PromotionReason.NO_SHOW: "somebody did not come",
    PromotionReason.CAPACITY_RAISED: "there are more seats",
    PromotionReason.DOCTOR_AVAILABLE: "a doctor is back",
    PromotionReason.DOCTOR_REGISTERED: "a doctor has come",
    PromotionReason.UPGRADED: "it is an emergency",
}
_TOKENS = {
    "TokenConfirmed": ("has a seat with {doctor} at {slot}", "green"),
    "TokenWaitlisted": ("waits for {slot}, place {position}", "yellow"),
    "TokenPreempted": ("loses its seat with {lost}: {why}", "bold magenta"),
    "TokenPromoted": ("moves up to {doctor}: {why}", "bold green"),
    "TokenReassigned": ("goes from {origin} to {doctor}: {why}", "cyan"),
    "TokenUpgraded": ("is an EMERGENCY now", "bold red"),
    "TokenCancelled": ("cancels", "magenta"),
    "TokenNoShow": ("has not come", "magenta"),
    "TokenCheckedIn": ("is here", "blue"),
    "TokenCalled": ("please to {doctor}", "bold"),
    "TokenCompleted": ("is done", "dim"),
    "TokenExpired": ("has waited for {slot} in vain", "yellow"),
}
_ALARMS = frozenset({"TokenPreempted", "TokenUpgraded", "DoctorAvailabilityChanged"})


def in_words(happening: Happening, board: Board) -> Line | None:
    """Say an event or a dead letter; None for a command, which says nothing until it is decided."""
    if happening.what is What.COMMAND:
        return None
    at_ms, kind, data = happening.at_ms, happening.type, happening.data
    if happening.what is What.DEAD_LETTER:
        return Line(at_ms, "", kind, "an unreadable record is put aside", "dim red")
    name: str = data["department_id"]
    department = board.departments.get(name) or Department(name)
    if kind not in _TOKENS:
        text, style = _of_the_department(kind, data, department)
        return Line(at_ms, name, kind, text, style, kind in _ALARMS)
    text, style = _TOKENS[kind]
    said = f"#{data['token_no']} {text.format(**_blanks(data, department))}"
    if data["source"] == Source.EMERGENCY and kind in {"TokenConfirmed", "TokenWaitlisted"}:
        return Line(at_ms, name, kind, f"EMERGENCY {said}", "bold red", is_alarm=True)
    return Line(at_ms, name, kind, said, style, kind in _ALARMS)


def _blanks(data: Mapping[str, Any], department: Department) -> dict[str, str]:
    return {
        "doctor": department.name_of(data["doctor_id"]),
        "slot": data["slot"][:5],
        "position": str(data.get("position", "")),
        "lost": department.name_of(data.get("lost_doctor_id")),
        "origin": department.name_of(data.get("from_doctor_id")),
        "why": _why(data, department),
    }


def _why(data: Mapping[str, Any], department: Department) -> str:
    match data.get("reason"):
        case PreemptionReason.EMERGENCY:
            return f"emergency #{data['by_token_id'].rpartition('.')[2]} needs it"
        case PreemptionReason.DOCTOR_UNAVAILABLE:
            gone = data.get("lost_doctor_id") or data.get("from_doctor_id")
            return f"{department.name_of(gone)} is away"
        case str(reason) if reason in _PROMOTIONS:
            return _PROMOTIONS[PromotionReason(reason)]
        case _:
            return ""


def _of_the_department(kind: str, data: Mapping[str, Any], department: Department) -> tuple[str, str]:
    doctor, slot = department.name_of(data.get("doctor_id")), data.get("slot", "")[:5]
    match kind:
        case "DoctorRegistered":
            return f"{doctor} is on duty", "blue"
        case "SlotCapacityChanged":
            over = f", {data['over_by']} too many sit already" if data["over_by"] else ""
            return f"{doctor} takes {data['capacity']} at {slot}{over}", "blue"
        case "DoctorAvailabilityChanged" if data["available"]:
            return f"{doctor} is back for {slot}", "bold blue"
        case "DoctorAvailabilityChanged":
            reason = f": {data['reason']}" if "reason" in data else ""
            return f"{doctor} is away at {slot}{reason}", "bold blue"
        case "SlotClosed":
            return f"{slot} is closed", "dim"
        case _:
            return f"{_COMMANDS[data['command_type']]} is refused: {REFUSALS[data['reason']]}", "dim red"
