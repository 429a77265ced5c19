"""A port that tells the metrics of a server in the same pod, and answers nothing else.

Servers of models tell them on the port on which they answer questions and take orders, and a
NetworkPolicy lets a caller reach a port or not, whatever it asks there.
"""

import http.client
from contextlib import AbstractContextManager
from http import HTTPStatus

from nexus_api.few_answers import Answer, answering

PATH = "/metrics"
_ASK_SECONDS = 8.0
"""Less than the ten seconds that Prometheus waits."""


def relaying(server_port: int, host: str, port: int) -> AbstractContextManager[int]:
    """Relay the metrics of a server of this machine until the block ends.

    Gives the port that is listened on, chosen where 0 was given.  Raises OSError where that is
    taken.  Nothing of what a caller sends goes on to the server.
    """
    return answering({PATH: lambda: _asked(server_port)}, host, port)


def _asked(port: int) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ASK_SECONDS)
    try:
        connection.request("GET", PATH)
        answer = connection.getresponse()
        kind = answer.getheader("content-type", "text/plain")
        return Answer(answer.status, kind, answer.read())
    except (OSError, http.client.HTTPException):
        return Answer(HTTPStatus.BAD_GATEWAY, "text/plain", b"the server does not answer\n")
    finally:
        connection.close()
