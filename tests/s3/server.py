"""An S3-compatible service for tests: moto, with its objects in memory.

Serves one bucket on a free port of this machine, prints the port, and ends when its standard input does: so it never
outlives the test that has started it, however that ends.

moto looks whether an object is there and puts it in two steps, and its tables are not made for several threads. So one
request is answered at a time, and what is said of conditional puts by many at once is said of that.
"""

import io
import sys
import threading
import warnings

warnings.simplefilter("ignore")

from moto.core import DEFAULT_ACCOUNT_ID  # noqa: E402
from moto.moto_server.werkzeug_app import create_backend_app  # noqa: E402
from moto.s3.models import s3_backends  # noqa: E402
from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: E402


# The bucket that is there.
BUCKET = "bucket"


class OneAtATime:
    """A WSGI application behind a lock."""

    def __init__(self, application):
        self.application = application
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        # The whole body first: a client that sends slowly must not keep the others waiting.
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        with self.lock:
            return list(self.application(environ, start_response))


class Handler(WSGIRequestHandler):
    """Keeps connections, and quiet."""

    protocol_version = "HTTP/1.1"

    def log(self, *_):
        pass


def main():
    s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket(BUCKET, "us-east-1")
    application = OneAtATime(create_backend_app("s3"))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
