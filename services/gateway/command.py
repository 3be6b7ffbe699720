"""`opd gateway`, `opd token-for` and `opd make-keys`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from services.errors import OpdError
from services.gateway.identity import Identity
from services.gateway.keys import sign_for_development
from services.gateway.permissions import Role
from services.gateway.signing import make_keys as write_keys
from services.gateway.signing import sign
from services.settings import Settings

DEFAULT_HTTP_PORT = 8100


def gateway(settings: Settings) -> None:
    """Take commands over HTTP until SIGTERM or Ctrl-C; /docs shows what there is, and lets one try it."""
    from services.gateway.server import run_gateway  # noqa: PLC0415  not for `token-for`

    port = DEFAULT_HTTP_PORT if settings.http_port is None else settings.http_port
    run_gateway(settings.model_copy(update={"http_port": port}))


def token_for(  # noqa: PLR0913  a claim each
    *,
    role: Annotated[Role, typer.Option(help="In which part.")],
    facility: Annotated[list[str], typer.Option(help="Where; once for each; * is everywhere.")] = ["*"],  # noqa: B006
    department: Annotated[list[str], typer.Option(help="In which departments; left out: all.")] = [],  # noqa: B006
    patient: Annotated[str | None, typer.Option(help="patient_id, for the role patient.")] = None,
    doctor: Annotated[str | None, typer.Option(help="doctor_id, for the role doctor.")] = None,
    subject: Annotated[str | None, typer.Option(help="Who; left out: the role's name.")] = None,
    hours: Annotated[float, typer.Option(min=0, help="How long it is good for.")] = 12,
    signing_key: Annotated[
        Path | None, typer.Option(help="Of `opd make-keys`: for gateways that trust it, by OPD_JWT_ISSUER.")
    ] = None,
    jwt_issuer: Annotated[
        str | None, typer.Option(envvar="OPD_JWT_ISSUER", show_envvar=False, help="Wins over OPD_JWT_ISSUER.")
    ] = None,
    jwt_audience: Annotated[
        str, typer.Option(envvar="OPD_JWT_AUDIENCE", show_envvar=False, help="Wins over OPD_JWT_AUDIENCE.")
    ] = "opd",
) -> None:
    """Print a token that a gateway in development mode takes, or one signed with a key."""
    said: dict[str, Any] = {
        "sub": subject or f"development-{role}",
        "role": role,
        "facilities": "*" if facility == ["*"] else facility,
        "departments": department or None,
        "patient_id": patient,
        "doctor_id": doctor,
    }
    claims = {name: value for name, value in said.items() if value is not None}
    try:
        Identity.model_validate(claims)
    except ValidationError as error:
        raise WrongClaims("; ".join(each["msg"] for each in error.errors())) from None
    if signing_key is None:
        typer.echo(sign_for_development(claims, hours=hours))
    elif jwt_issuer is None:
        raise WrongClaims("OPD_JWT_ISSUER is not set: the gateways take tokens of the issuer that they trust alone")
    else:
        typer.echo(sign({**claims, "iss": jwt_issuer, "aud": jwt_audience}, signing_key, hours=hours))


def make_keys(
    *,
    signing_key: Annotated[Path, typer.Option(help="The file to keep for oneself.", dir_okay=False)],
    jwks: Annotated[Path, typer.Option(help="The file that gateways get, as OPD_JWT_JWKS.", dir_okay=False)],
) -> None:
    """Write a key that signs tokens, and what verifies them; a key that is there stays."""
    made = write_keys(signing_key, jwks)
    typer.echo(f"{signing_key}: {'made' if made else 'stays'}; {jwks} verifies what it signs")


class WrongClaims(OpdError):  # noqa: N818  it is what they are
    """No gateway would take them."""

    exit_code = 2
