"""`make fuzz-http`: requests made of the OpenAPI document, to the gateway of a whole system, which is audited after."""

import argparse
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from services.settings import Settings
from services.stack import Stack
from services.stack.system import System, all_services, environment
from tests.console import opd
from tests.http_fuzz.fuzz import fuzz

WHERE = {"facility_id": "blr1", "department_id": "cardiology"}
POOL = {**WHERE, "date": f"{datetime.now(UTC).date() + timedelta(days=1)}", "slot": "09:00-10:00"}
DOCTOR = {**WHERE, "doctor_id": "dr-rao", "name": "Dr Rao", "schedule": [{"slot": POOL["slot"], "capacity": 100}]}
TOLD_EVERY = 1_000


def main() -> int:
    """Give 0 if every answer was one that the document allows, and the audit holds."""
    words = argparse.ArgumentParser(prog="make fuzz-http", description=__doc__)
    words.add_argument("--requests", type=int, default=20_000, help="in all, about (20,000)")
    words.add_argument("--seed", type=int, default=0, help="other requests with another one")
    asked = words.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        System(Stack(Path(folder), with_postgres=True), Settings(), all_services()) as system,
    ):
        url = system.http["gateway"]
        httpx.post(f"{url}/doctors", json=DOCTOR).raise_for_status()
        token = httpx.post(f"{url}/tokens", json={**POOL, "patient_id": "p1", "source": "PAID"}).raise_for_status()
        known = {**POOL, "doctor_id": "dr-rao", "token_id": token.json()["token_id"], "source": "PAID"}
        endpoints = len(httpx.get(f"{url}/openapi.json").json()["paths"])
        in_stories = asked.requests // 6
        each = (asked.requests - in_stories) // endpoints + 1
        fuzzed = fuzz(
            url, known, requests_each=each, requests_in_stories=in_stories, first_seed=asked.seed, heard_by=_tell
        )
        sys.stderr.write("the audit\n")
        audited = opd("verify", "--redis", timeout_s=600, **environment(system.settings))
    sys.stdout.write(f"{fuzzed.requests.total()} requests; answers: {dict(sorted(fuzzed.statuses.items()))}\n")
    sys.stdout.write(audited.stdout + audited.stderr)
    return audited.returncode


def _tell(sent: int) -> None:
    if sent % TOLD_EVERY == 0:
        sys.stderr.write(f"{sent:,} requests answered as the document says\n")


if __name__ == "__main__":
    sys.exit(main())
