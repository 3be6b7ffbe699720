from itertools import islice

from allocation_core.model import Model
from schemas.words import RejectionReason
from tests.core.days import random_commands
from tests.core.invariants import Books
from tests.core.situations import SITUATIONS, Reached

SEED = 1
COUNT = 20_000

# What each command can lead to, R2's and R3's refusals aside.
DECISIONS = {
    "RegisterDoctor": [
        "DoctorRegistered",
        "TokenReassigned DOCTOR_UNAVAILABLE",
        "TokenPreempted DOCTOR_UNAVAILABLE",
        "TokenPreempted EMERGENCY",
        "TokenPromoted DOCTOR_REGISTERED",
        "CommandRejected DEPARTMENT_FULL",
    ],
    "RequestToken": [
        "TokenConfirmed",
        "TokenWaitlisted",
        "TokenUpgraded",
        "TokenReassigned EMERGENCY",
        "TokenPreempted EMERGENCY",
        "TokenPromoted UPGRADED",
        "CommandRejected DEPARTMENT_UNKNOWN",
        "CommandRejected SLOT_UNKNOWN",
        "CommandRejected SLOT_CLOSED",
        "CommandRejected DOCTOR_UNKNOWN",
        "CommandRejected DUPLICATE_PATIENT",
        "CommandRejected WAITLIST_FULL",
    ],
    "CancelToken": [
        "TokenCancelled",
        "TokenPromoted CANCELLATION",
        "CommandRejected TOKEN_UNKNOWN",
        "CommandRejected INVALID_TRANSITION",
    ],
    "MarkNoShow": [
        "TokenNoShow",
        "TokenPromoted NO_SHOW",
        "CommandRejected TOKEN_UNKNOWN",
        "CommandRejected INVALID_TRANSITION",
    ],
    "CheckIn": [
        "TokenCheckedIn",
        "CommandRejected TOKEN_UNKNOWN",
        "CommandRejected INVALID_TRANSITION",
        "CommandRejected ID_REUSED",
    ],
    "CallNext": [
        "TokenCalled",
        "TokenCompleted",
        "CommandRejected DOCTOR_UNKNOWN",
        "CommandRejected QUEUE_EMPTY",
        "CommandRejected ID_REUSED",
    ],
    "CompleteConsultation": [
        "TokenCompleted",
        "CommandRejected TOKEN_UNKNOWN",
        "CommandRejected INVALID_TRANSITION",
    ],
    "SetSlotCapacity": [
        "SlotCapacityChanged",
        "TokenPromoted CAPACITY_RAISED",
        "CommandRejected DOCTOR_UNKNOWN",
        "CommandRejected SLOT_UNKNOWN",
        "CommandRejected SLOT_CLOSED",
    ],
    "SetDoctorAvailability": [
        "DoctorAvailabilityChanged",
        "TokenReassigned DOCTOR_UNAVAILABLE",
        "TokenPreempted DOCTOR_UNAVAILABLE",
        "TokenPreempted EMERGENCY",
        "TokenPromoted DOCTOR_AVAILABLE",
        "CommandRejected DOCTOR_UNKNOWN",
        "CommandRejected SLOT_UNKNOWN",
        "CommandRejected SLOT_CLOSED",
    ],
    "CloseSlot": ["SlotClosed", "TokenExpired", "CommandRejected SLOT_UNKNOWN", "CommandRejected SLOT_CLOSED"],
}
DATED = ["RequestToken", "CallNext", "SetSlotCapacity", "SetDoctorAvailability", "CloseSlot"]
EXPECTED = {
    *(f"{command}: {decision}" for command, decisions in DECISIONS.items() for decision in decisions),
    *(f"{command}: CommandRejected DUPLICATE_COMMAND" for command in DECISIONS),
    *(f"{command}: CommandRejected {reason}" for command in DATED for reason in ("DATE_IN_PAST", "DATE_TOO_FAR")),
}
ID_REUSED = {f"{command}: CommandRejected ID_REUSED" for command in DECISIONS}
MORE_SITUATIONS = {"an older timestamp", "an id is used again after it was forgotten"}


def test_random_days_reach_all_decisions_and_rare_situations_and_keep_the_invariants() -> None:
    """By the model; that the slot store says the same to each of these commands is shown by `test_twins.py`."""
    model, books, reached = Model(), Books(), Reached()
    for command, timestamp_ms in random_commands(SEED, COUNT):
        events = model.decide(command, timestamp_ms)
        reached.note(command, timestamp_ms, events, books)
        books.enter(command, timestamp_ms, events)

    assert EXPECTED <= set(reached.decisions) <= EXPECTED | ID_REUSED
    assert set(+reached.situations) == {*SITUATIONS, *MORE_SITUATIONS}


def test_every_reason_to_refuse_is_expected_of_some_command() -> None:
    assert {decision.split(" ")[2] for decision in EXPECTED if "CommandRejected" in decision} == set(RejectionReason)


def test_random_days_depend_on_the_seed_alone() -> None:
    days = list(random_commands(SEED, 500))
    assert days == list(islice(random_commands(SEED, COUNT), 500))
    assert days != list(random_commands(SEED + 1, 500))
