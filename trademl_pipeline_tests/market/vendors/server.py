"""A local HTTP server that speaks a vendor's wire format, and misbehaves on demand."""

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Query = dict[str, str]


@dataclass
class Reply:
    """One response: `cut` breaks the body off half-way, `hang` gives none until the end, `drop` says nothing at all."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    hang: bool = False
    drop: bool = False

    def text(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


@dataclass
class Seen:
    path: str
    query: Query
    headers: dict[str, str]


class VendorServer:
    """Answers with `route`, after the replies in `faults`, each of which answers one request that `faulty` picks."""

    def __init__(self, route: Callable[[str, Query], Reply]) -> None:
        self.route = route
        self.faults: deque[Reply] = deque()
        self.faulty: Callable[[str, Query], bool] = lambda path, query: True
        self.seen: list[Seen] = []
        self._stop = threading.Event()
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                query = {k: v[0] for k, v in parse_qs(url.query).items()}
                vendor.seen.append(Seen(url.path, query, dict(self.headers)))
                fault = vendor.faults and vendor.faulty(url.path, query)
                reply = vendor.faults.popleft() if fault else vendor.route(url.path, query)
                if reply.hang:
                    vendor._stop.wait()
                if reply.drop:
                    self.close_connection = True
                    return
                body = reply.text()
                try:
                    self.send_response(reply.status)
                    headers = {
                        "Content-Type": "application/json",
                        "Content-Length": str(len(body)),
                        **reply.headers,
                    }
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(body[: len(body) // 2] if reply.cut else body)
                except OSError:
                    # The client has given up waiting.
                    pass
                self.close_connection = reply.cut or self.close_connection

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def asked(self, path: str) -> list[Query]:
        return [seen.query for seen in self.seen if path in seen.path]

    def close(self) -> None:
        """Stop answering: later requests are refused a connection."""
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> "VendorServer":
        return self

    def __exit__(self, *args: Any) -> None:
        self.close()
