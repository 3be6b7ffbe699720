"""A real SMTP server that keeps what it is given."""

import asyncio
import email
import email.policy
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from services.notifier.channels import Channel
from services.stack.ports import LOOPBACK, free_ports
from tests.waiting import WITHIN_S


class Mail(NamedTuple):
    """A mail as it came."""

    to: str
    subject: str
    text: str


class MailServer:
    """Takes mails.

    Attributes:
        mails: in the order in which they came.
        refuses: whether it takes none for now.
        answers: to so many in all; it takes those behind them without saying so until it answers to more.
    """

    def __init__(self) -> None:
        self.port = free_ports(1)[0]
        self.mails: list[Mail] = []
        self.refuses = False
        self.answers = sys.maxsize
        self._controller = Controller(self, hostname=LOOPBACK, port=self.port, ready_timeout=WITHIN_S)

    @property
    def url(self) -> str:
        """As a channel's."""
        return f"mailto://{LOOPBACK}:{self.port}?from=opd@hospital.example&to={{email}}&mode=insecure"

    @property
    def channel(self) -> Channel:
        return Channel("email", self.url, "email")

    def start(self) -> None:
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's
        if self.refuses:
            return "451 not now"
        content: Any = envelope.content
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        body = message.get_body(("plain", "html"))
        assert body is not None
        self.mails.append(Mail(envelope.rcpt_tos[0], str(message["subject"]), str(body.get_content())))
        while len(self.mails) > self.answers:  # noqa: ASYNC110  it is set from another thread
            await asyncio.sleep(0.01)
        return "250 taken"


def running_mail_server() -> Iterator[MailServer]:
    """Run one until the test is over."""
    server = MailServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
