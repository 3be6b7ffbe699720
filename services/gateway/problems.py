"""Refusals as problem details (RFC 9457): one type for each reason of the contract, and the gateway's own."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, Field

from schemas.words import RejectionReason, TokenId

MEDIA_TYPE = "application/problem+json"


class Kind(NamedTuple):
    """One type of problem.

    Attributes:
        slug: `/problems/{slug}` is its type, and says what stands here.
        status: of the HTTP answer.
        title: the same for every problem of the type.
        advice: what it means, and what to do.
    """

    slug: str
    status: int
    title: str
    advice: str

    @property
    def type(self) -> str:
        """The URI reference."""
        return f"/problems/{self.slug}"


def _slug(reason: RejectionReason) -> str:
    return reason.lower().replace("_", "-")


# What the engine says, R2 to R19.
_OF_REASONS = {
    RejectionReason.DUPLICATE_COMMAND: (
        409,
        "The same command again",
        "It was decided before (R2), and its first answer cannot be found any more. Ask for the token instead.",
    ),
    RejectionReason.ID_REUSED: (
        422,
        "The Idempotency-Key was used for another request",
        "A key stands for one request (R2). Use a new one for a new request.",
    ),
    RejectionReason.DATE_IN_PAST: (422, "The date is in the past", "Ask for today or a later date (R3)."),
    RejectionReason.DATE_TOO_FAR: (422, "The date is too far ahead", "Ask for a date within 180 days (R3)."),
    RejectionReason.DEPARTMENT_UNKNOWN: (
        404,
        "The department has no doctor",
        "Register a doctor first (POST /doctors), or mend the department's name.",
    ),
    RejectionReason.SLOT_UNKNOWN: (
        404,
        "Nobody works that slot on that date",
        "See what is worked: GET /doctors. Of an availability or a capacity: that doctor does not work it.",
    ),
    RejectionReason.SLOT_CLOSED: (
        409,
        "The slot is closed",
        "Nothing more is granted in it (R19). Choose another one.",
    ),
    RejectionReason.DOCTOR_UNKNOWN: (
        404,
        "The doctor is not known there",
        "Not registered in the department, or, of a request for a token, not working that slot.",
    ),
    RejectionReason.DUPLICATE_PATIENT: (
        409,
        "The patient has a token in this slot",
        "One active token a patient and slot (R4). Cancel that one first, or keep it.",
    ),
    RejectionReason.WAITLIST_FULL: (409, "The waitlist is full", "1,000 wait already (R7). Choose another slot."),
    RejectionReason.TOKEN_UNKNOWN: (
        404,
        "There is no such token",
        "Mend the token's id; tokens are forgotten in time.",
    ),
    RejectionReason.INVALID_TRANSITION: (
        409,
        "The token's status does not allow it",
        "See where it stands: GET /tokens/{token_id} (R11 to R15).",
    ),
    RejectionReason.QUEUE_EMPTY: (409, "Nobody is there to be called", "Check patients in as they come (R13, R14)."),
    RejectionReason.DEPARTMENT_FULL: (409, "The department has 200 doctors", "More than that it cannot have (R16)."),
}
REASONS = {reason: Kind(_slug(reason), *rest) for reason, rest in _OF_REASONS.items()}

INVALID_REQUEST = Kind(
    "invalid-request", 422, "The request is not as it must be", "`errors` names each field and what is wrong with it."
)
UNAUTHENTICATED = Kind(
    "unauthenticated", 401, "Who calls is not proven", "Send `Authorization: Bearer` with a valid token."
)
FORBIDDEN = Kind("forbidden", 403, "The caller may not do this", "docs/permissions.md says who may do what.")
NOT_FOUND = Kind("not-found", 404, "There is no such thing", "Mend the address.")
METHOD_NOT_ALLOWED = Kind("method-not-allowed", 405, "Not with this method", "The header Allow names those there are.")
TOO_SLOW = Kind("too-slow", 408, "The request's body did not come in time", "Send it within 10 seconds.")
NOT_REACHED = Kind(
    "position-not-reached",
    412,
    "What was asked for is not to be seen yet",
    "The history has not come to the OPD-Position of the request in time. Ask again, or without it.",
)
TOO_LARGE = Kind("too-large", 413, "The request's body is too large", "A command has at most 16 KiB.")
NO_JSON = Kind("unsupported-media-type", 415, "The body is no JSON", "Send JSON, and `Content-Type: application/json`.")
RATE_LIMITED = Kind(
    "rate-limited",
    429,
    "Too many requests",
    "Nothing was done. `RateLimit-Policy` says how many there may be; try again after the seconds of Retry-After.",
)
INTERNAL = Kind("internal-error", 500, "A fault of the gateway", "It is in the gateway's log.")
OVERLOADED = Kind(
    "overloaded", 503, "Too much at once", "Nothing was done. Try again after the seconds of Retry-After."
)
LOG_UNAVAILABLE = Kind(
    "log-unavailable",
    503,
    "Kafka cannot be reached",
    "Nothing was written. Try again after the seconds of Retry-After.",
)
OUTCOME_UNKNOWN = Kind(
    "outcome-unknown",
    503,
    "It is not known whether the command was written",
    "Send the same request again with the Idempotency-Key of this answer: it is done once, whatever became of this.",
)
HISTORY_UNAVAILABLE = Kind(
    "history-unavailable",
    503,
    "PostgreSQL cannot be reached",
    "What is read, and whose it is, is known there. Try again after the seconds of Retry-After.",
)
KEYS_UNAVAILABLE = Kind(
    "keys-unavailable", 503, "Nobody's token can be verified", "The JWKS cannot be read. Try again after Retry-After."
)
PATIENT_UNKNOWN = Kind(
    "patient-unknown", 404, "Nothing is known of the patient", "Nobody said how to reach them, or it was erased."
)
NO_VAULT = Kind(
    "no-vault",
    501,
    "There is no vault here",
    "Patients' numbers and contacts need one: set OPD_VAULT_KEY_FILE. A patient_id works without.",
)
VAULT_UNAVAILABLE = Kind(
    "vault-unavailable",
    503,
    "The vault cannot be read",
    "Nothing was done. Try again after the seconds of Retry-After; a patient_id in place of a number works meanwhile.",
)
AUDIT_UNAVAILABLE = Kind(
    "audit-unavailable",
    503,
    "It cannot be noted who asks",
    "Nobody is shown a patient's data unnoticed. Try again after the seconds of Retry-After; a change may be done.",
)
_OWN = (
    INVALID_REQUEST,
    UNAUTHENTICATED,
    FORBIDDEN,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    TOO_SLOW,
    NOT_REACHED,
    TOO_LARGE,
    NO_JSON,
    RATE_LIMITED,
    INTERNAL,
    OVERLOADED,
    LOG_UNAVAILABLE,
    OUTCOME_UNKNOWN,
    HISTORY_UNAVAILABLE,
    KEYS_UNAVAILABLE,
    PATIENT_UNKNOWN,
    NO_VAULT,
    VAULT_UNAVAILABLE,
    AUDIT_UNAVAILABLE,
)
KINDS = {kind.slug: kind for kind in (*REASONS.values(), *_OWN)}


class FieldFault(BaseModel):
    """What is wrong with one field."""

    field: Annotated[str, Field(description="Where: `body.slot`, `query.limit`, …", examples=["body.slot"])]
    fault: Annotated[str, Field(description="What: never the value itself.", examples=["a slot starts before it ends"])]


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457)."""

    type: Annotated[str, Field(description="Which problem: an address here.", examples=["/problems/slot-closed"])]
    title: Annotated[str, Field(examples=["The slot is closed"])]
    status: Annotated[int, Field(examples=[409])]
    detail: Annotated[str | None, Field(description="What is particular to this one.")] = None
    reason: Annotated[RejectionReason | None, Field(description="The engine's own word, if it refused.")] = None
    token_id: Annotated[TokenId | None, Field(description="The token that the refusal is about.")] = None
    idempotency_key: Annotated[str | None, Field(description="The key to try again with.")] = None
    errors: Annotated[list[FieldFault] | None, Field(description="With invalid-request: each field.")] = None


class Problem(Exception):  # noqa: N818  it is what RFC 9457 calls it
    """An answer that is a refusal."""

    def __init__(
        self, kind: Kind, detail: str | None = None, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        """`more` are further members of `ProblemDetails`."""
        super().__init__(detail or kind.title)
        self.kind = kind
        self.headers = dict(headers or {})
        if kind.status == 503:
            self.headers.setdefault("Retry-After", "1")
        if kind is UNAUTHENTICATED:
            self.headers["WWW-Authenticate"] = "Bearer"
        self.details = ProblemDetails(type=kind.type, title=kind.title, status=kind.status, detail=detail, **more)

    @property
    def body(self) -> bytes:
        """As JSON."""
        return self.details.model_dump_json(exclude_none=True).encode()
