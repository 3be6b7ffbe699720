"""Channels: what the file may say, and that a mail arrives."""

from pathlib import Path

import pytest

from services.notifier.channels import BadChannels, Channel, read_channels
from services.stack.ports import free_ports
from services.vault.contact import Contact
from tests.notifier.mails import MailServer


def _file(folder: Path, text: str) -> Path:
    file = folder / "channels.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_names_channels_in_the_order_of_preference(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("p@ss/word\n")
    file = _file(
        tmp_path,
        """
        [sms]
        url = "twilio://AC00000000000000000000000000000000:0123456789abcdef0123456789abcdef@+15551234567/{phone}"
        [email]
        url = "mailtos://opd:{secret}@smtp.example.org?to={email}"
        secret_file = "secret"
        """,
    )

    sms, mail = read_channels(file)
    assert (sms.name, sms.address, mail.name, mail.address) == ("sms", "phone", "email", "email")
    assert "p%40ss%2Fword" in mail.template
    contact = Contact(email="asha@example.org", consent=True)
    assert (sms.address_of(contact), mail.address_of(contact)) == (None, "asha@example.org")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no channel"),
        ("[email", "cannot be read: TOMLDecodeError"),
        ("[email]\nurl = 5", "url: Input should be a valid string"),
        ('[email]\nurl = "mailto://example.org"', "has {email} or {phone} where the patient's address goes"),
        ('[email]\nurl = "mailto://example.org?to={email}"\ncolour = "blue"', "colour: Extra inputs"),
        ('[email]\nurl = "carrierpigeon://{phone}"', "apprise knows no such url"),
        ('[email]\nurl = "mailto://example.org?to={email}"\nsecret_file = "none"', "secret_file cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_at_the_start(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadChannels, match=says.replace("{", r"\{").replace("}", r"\}")):
        read_channels(_file(tmp_path, text))


def test_a_refusal_repeats_no_secret(tmp_path: Path) -> None:
    with pytest.raises(BadChannels) as refused:
        read_channels(_file(tmp_path, '[email]\nurl = "nothing://opd:hunter2@example.org?to={email}"'))
    assert "hunter2" not in str(refused.value)


def test_a_mail_arrives_in_any_script(mail_server: MailServer) -> None:
    assert mail_server.channel.send("asha@example.org", "टोकन 17", "जल्द ही आपकी बारी है")

    [mail] = mail_server.mails
    assert (mail.to, mail.subject) == ("asha@example.org", "टोकन 17")
    assert "जल्द ही आपकी बारी है" in mail.text


def test_a_channel_that_refuses_or_is_away_takes_nothing(mail_server: MailServer) -> None:
    mail_server.refuses = True
    assert not mail_server.channel.send("asha@example.org", "title", "text")
    away = f"mailto://127.0.0.1:{free_ports(1)[0]}?from=opd@hospital.example&to={{email}}&mode=insecure"
    assert not Channel("email", away, "email").send("asha@example.org", "title", "text")


def test_nothing_is_logged_of_whom_a_message_goes_to(mail_server: MailServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(0):
        mail_server.channel.send("asha@example.org", "title", "text")
        mail_server.refuses = True
        mail_server.channel.send("asha@example.org", "title", "text")
    assert "asha" not in " ".join(
        record.getMessage() for record in caplog.records if not record.name.startswith("mail.log")
    ), "(mail.log is the test's own server)"
