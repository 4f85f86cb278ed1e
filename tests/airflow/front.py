"""What stands before the stand-in of the providers, and says on their behalf what the stand-in never says."""

from __future__ import annotations

from collections import Counter
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Front:
    """Stands before the stand-in: hands on what comes, or says what it was told to say instead."""

    def __init__(self, port: int):
        self.says: tuple[int, dict[str, str]] | None = None
        self.key: str | None = None
        """Who comes with another one is refused."""
        self.down_for: str | None = None
        """A path of which it says 500."""
        self.requests: Counter[str] = Counter()
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                front.requests[self.command] += 1
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                status, headers, said = front.answer(self.command, self.path, dict(self.headers), body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                pass  # the stand-in hung up: so do we

        self._behind = port
        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, method, path, headers, body) -> tuple[int, dict[str, str], bytes]:
        if self.says:
            status, more = self.says
            return status, more, b"{}"
        if self.down_for == path:
            return 500, {}, b"{}"
        if self.key and self.key not in headers.get("Authorization", ""):
            return 401, {}, b"{}"
        line = HTTPConnection("127.0.0.1", self._behind, timeout=60)
        try:
            line.request(method, path, body, {n: v for n, v in headers.items() if n.lower() != "host"})
            got = line.getresponse()
            kept = {n: v for n, v in got.getheaders() if n.lower() not in ("content-length", "connection", "date")}
            return got.status, kept, got.read()
        finally:
            line.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
