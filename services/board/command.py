"""`opd board`."""

from services.board.server import run_board
from services.settings import Settings

DEFAULT_HTTP_PORT = 8103


def board(settings: Settings) -> None:
    """Serve the pages until SIGTERM or Ctrl-C; what they show and do goes through the gateway at OPD_GATEWAY_URL."""
    port = DEFAULT_HTTP_PORT if settings.http_port is None else settings.http_port
    run_board(settings.model_copy(update={"http_port": port}))
