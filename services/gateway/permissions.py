"""Who may do what: the one table that the endpoints, the page `docs/permissions.md` and the tests are made from."""

from enum import StrEnum

from schemas.words import Source


class Role(StrEnum):
    """In which part somebody comes."""

    PATIENT = "patient"
    PORTAL = "portal"
    RECEPTION = "reception"
    KIOSK = "kiosk"
    DOCTOR = "doctor"
    ADMIN = "admin"
    AUDITOR = "auditor"


class Reach(StrEnum):
    """How far a permission goes, always within the facilities and departments of one's claims."""

    NOTHING = "-"
    OWN = "own"
    WITHOUT_PATIENTS = "without patient ids"
    ALL = "yes"


OWN_MEANS = {
    Role.PATIENT: "tokens and contact of the claims' `patient_id`",
    Role.PORTAL: "tokens that it booked itself",
    Role.DOCTOR: "sessions of the claims' `doctor_id`",
}


class Action(StrEnum):
    """Every endpoint that asks who calls."""

    BOOK = "POST /tokens"
    LIST_TOKENS = "GET /tokens"
    READ_TOKEN = "GET /tokens/{token_id}"  # noqa: S105  a path
    CANCEL = "POST /tokens/{token_id}/cancel"
    CHECK_IN = "POST /tokens/{token_id}/check-in"
    NO_SHOW = "POST /tokens/{token_id}/no-show"
    COMPLETE = "POST /tokens/{token_id}/complete"
    REGISTER_DOCTOR = "POST /doctors"
    LIST_DOCTORS = "GET /doctors"
    SET_AVAILABILITY = "PUT /doctors/{doctor_id}/availability"
    SET_CAPACITY = "PUT /doctors/{doctor_id}/capacity"
    CALL_NEXT = "POST /doctors/{doctor_id}/call-next"
    CLOSE_SLOT = "POST /slots/close"
    READ_POOL = "GET /pools/{facility_id}/{department_id}/{date}/{slot}"
    LIST_DEPARTMENTS = "GET /departments"
    READ_COMMAND = "GET /commands/{command_place}"
    FOLLOW = "GET /events"
    KEEP_CONTACT = "PUT /patients/contact"
    READ_CONTACT = "GET /patients/contact"
    ERASE = "DELETE /patients"
    OPERATIONS = "GET /operations"


_COLUMNS = (Role.PATIENT, Role.PORTAL, Role.RECEPTION, Role.KIOSK, Role.DOCTOR, Role.ADMIN, Role.AUDITOR)
_NO, _OWN, _MASKED, _YES = Reach.NOTHING, Reach.OWN, Reach.WITHOUT_PATIENTS, Reach.ALL
_ROWS = {
    # Action                  patient  portal  reception kiosk  doctor admin auditor
    Action.BOOK:             (_OWN,    _YES,   _YES,    _MASKED, _NO,  _YES, _NO),
    Action.LIST_TOKENS:      (_OWN,    _NO,    _YES,    _NO,     _OWN, _YES, _MASKED),
    Action.READ_TOKEN:       (_OWN,    _OWN,   _YES,    _MASKED, _OWN, _YES, _MASKED),
    Action.CANCEL:           (_OWN,    _OWN,   _YES,    _NO,     _NO,  _YES, _NO),
    Action.CHECK_IN:         (_NO,     _NO,    _YES,    _MASKED, _NO,  _YES, _NO),
    Action.NO_SHOW:          (_NO,     _NO,    _YES,    _NO,     _OWN, _YES, _NO),
    Action.COMPLETE:         (_NO,     _NO,    _YES,    _NO,     _OWN, _YES, _NO),
    Action.REGISTER_DOCTOR:  (_NO,     _NO,    _NO,     _NO,     _NO,  _YES, _NO),
    Action.LIST_DOCTORS:     (_YES,    _YES,   _YES,    _YES,    _YES, _YES, _YES),
    Action.SET_AVAILABILITY: (_NO,     _NO,    _YES,    _NO,     _OWN, _YES, _NO),
    Action.SET_CAPACITY:     (_NO,     _NO,    _YES,    _NO,     _NO,  _YES, _NO),
    Action.CALL_NEXT:        (_NO,     _NO,    _YES,    _NO,     _OWN, _YES, _NO),
    Action.CLOSE_SLOT:       (_NO,     _NO,    _YES,    _NO,     _NO,  _YES, _NO),
    Action.READ_POOL:        (_YES,    _YES,   _YES,    _YES,    _YES, _YES, _YES),
    Action.LIST_DEPARTMENTS: (_YES,    _YES,   _YES,    _YES,    _YES, _YES, _YES),
    Action.READ_COMMAND:     (_OWN,    _OWN,   _OWN,    _NO,     _OWN, _YES, _MASKED),
    Action.FOLLOW:           (_OWN,    _MASKED,_YES,    _MASKED, _OWN, _YES, _MASKED),
    Action.KEEP_CONTACT:     (_OWN,    _YES,   _YES,    _NO,     _NO,  _YES, _NO),
    Action.READ_CONTACT:     (_OWN,    _NO,    _YES,    _NO,     _NO,  _NO,  _NO),
    Action.ERASE:            (_NO,     _NO,    _NO,     _NO,     _NO,  _YES, _NO),
    Action.OPERATIONS:       (_NO,     _NO,    _NO,     _NO,     _NO,  _YES, _YES),
}  # fmt: skip
PERMISSIONS = {action: dict(zip(_COLUMNS, row, strict=True)) for action, row in _ROWS.items()}

# What is read here tells of nobody: all else goes into the audit trail.
UNAUDITED = frozenset({Action.LIST_DOCTORS, Action.LIST_DEPARTMENTS})

# Who asks for a token says of what class it is. A seat is taken from others for an emergency, and money lets one wait
# before others: neither is for whoever profits to say.
SOURCES = {
    Role.PATIENT: frozenset({Source.ONLINE}),
    Role.PORTAL: frozenset({Source.ONLINE, Source.PAID, Source.FOLLOW_UP}),
    Role.RECEPTION: frozenset(Source),
    Role.KIOSK: frozenset({Source.WALK_IN}),
    Role.DOCTOR: frozenset[Source](),
    Role.ADMIN: frozenset(Source),
    Role.AUDITOR: frozenset[Source](),
}


def as_markdown() -> str:
    """Give the tables as they stand in the documentation."""
    head = ["", *_COLUMNS]
    lines = [_row(head), _row(["---"] * len(head))]
    lines += [_row([f"`{action}`", *_ROWS[action]]) for action in Action]
    lines += ["", "*own*: " + "; ".join(f"a {role}'s, {meaning}" for role, meaning in OWN_MEANS.items()) + "."]
    lines += ["A command is one's own if it came in under one's own `sub`.", ""]
    lines += [_row(["may ask for tokens of the class", *_COLUMNS]), _row(["---"] * len(head))]
    lines += [_row([f"`{each}`", *("yes" if each in SOURCES[role] else "-" for role in _COLUMNS)]) for each in Source]
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
