"""Channels: how a message leaves, as a file of the hospital's says it, by one of apprise's many services."""

import logging
import tomllib
import warnings
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import quote

import apprise
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from services.errors import OpdError
from services.vault.contact import Contact

# What these say names whom a message goes to.
for _name in ("apprise", "urllib3"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 10)

# apprise loads its services when the first is asked for; some of them import what Python is to lose.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    apprise.Apprise().add("json://localhost")

_ADDRESSES = ("email", "phone")


class BadChannels(OpdError):  # noqa: N818  they are what they are
    """The file of channels cannot be used."""

    exit_code = 2


class _Entry(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[str, Field(min_length=1)]
    secret_file: str | None = None

    @field_validator("url")
    @classmethod
    def _names_one_address(cls, url: str) -> str:
        if sum(f"{{{name}}}" in url for name in _ADDRESSES) != 1:
            raise ValueError("has {email} or {phone} where the patient's address goes")
        return url


class Channel(NamedTuple):
    """One way to reach a patient.

    Attributes:
        template: apprise's URL, with `{email}` or `{phone}`.
        address: which of the two.
    """

    name: str
    template: str
    address: str

    def address_of(self, contact: Contact) -> str | None:
        """Give the patient's address here, if they have one."""
        address: str | None = getattr(contact, self.address)
        return address

    def send(self, to: str, title: str, text: str) -> bool:
        """Send, and wait for the channel's answer; say whether it took the message. Blocks: for a thread.

        A channel that says no and one that says nothing are not told apart by apprise: False.
        """
        url = self.template.replace(f"{{{self.address}}}", quote(to, safe=""))
        sender = apprise.Apprise()
        return sender.add(url) and bool(sender.notify(body=text, title=title, body_format=apprise.NotifyFormat.TEXT))


def read_channels(file: Path) -> list[Channel]:
    """Read the channels of a file, in its order: the first that has an address of a patient is theirs.

    Raises:
        BadChannels: it cannot be read, or what it says cannot be used. Its text repeats no URL.
    """
    try:
        entries = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadChannels(f"OPD_NOTIFIER_CHANNELS: {file} cannot be read: {type(error).__name__}\n{_HOW}") from None
    if not entries:
        raise BadChannels(f"OPD_NOTIFIER_CHANNELS: {file} names no channel\n{_HOW}")
    return [_channel(file, name, entry) for name, entry in entries.items()]


_HOW = """try: [email]
     url = "mailtos://opd:{secret}@smtp.example.org?to={email}"
     secret_file = "/run/secrets/smtp\""""


def _channel(file: Path, name: str, said: object) -> Channel:
    where = f"OPD_NOTIFIER_CHANNELS: {file}, [{name}]"
    try:
        entry = _Entry.model_validate(said)
        url = entry.url
        if entry.secret_file is not None:
            secret = (file.parent / entry.secret_file).read_text(encoding="utf-8").strip()
            url = url.replace("{secret}", quote(secret, safe=""))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise BadChannels(f"{where}: {faults}\n{_HOW}") from None
    except (OSError, ValueError) as error:
        raise BadChannels(f"{where}: secret_file cannot be read: {type(error).__name__}") from None
    address = next(name for name in _ADDRESSES if f"{{{name}}}" in url)
    channel = Channel(name, url, address)
    example = {"email": "somebody%40example.org", "phone": "%2B918041234567"}[address]
    if not apprise.Apprise().add(url.replace(f"{{{address}}}", example)):
        raise BadChannels(f"{where}: apprise knows no such url\n{_HOW}")
    return channel
