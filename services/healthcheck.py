"""The image's health check: asks the one service of this container, whichever it is, how it is.

`python -m services.healthcheck [live|ready]` exits with 0 if it is well, else with 1 and what it said. It is run every
few seconds for years, so it imports little.
"""

import http.client
import os
import sys

DEFAULT_PORTS = range(8100, 8110)
_WITHIN_S = 3


def main() -> None:
    """Ask at `OPD_HTTP_PORT`, or else at the default port that somebody listens at."""
    kind = sys.argv[1] if len(sys.argv) > 1 else "live"
    named = os.environ.get("OPD_HTTP_PORT")
    for port in [int(named)] if named else DEFAULT_PORTS:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_WITHIN_S)
        try:
            connection.request("GET", f"/health/{kind}")
        except ConnectionRefusedError:
            continue
        answer = connection.getresponse()
        sys.exit(0 if answer.status == http.HTTPStatus.OK else answer.read(500).decode())
    sys.exit("no service listens")


if __name__ == "__main__":
    main()
