"""A bucket on this machine: gcp-storage-emulator behind a loopback address."""

import contextlib
import functools
import http
import http.server
import io
import json
import pathlib
import re
import threading
import urllib.request
from urllib.parse import parse_qs, quote, unquote, urlsplit

import gcp_storage_emulator.server
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import buckets, objects
from gcp_storage_emulator.storage import Storage

BUCKET = "sounds-and-questions"

_MOVE = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/moveTo/o/([^/?]+).*")
_OBJECT = re.compile(r"/storage/v1/b/([^/]+)/o/([^/?]+)\?.*")
_NAMED = re.compile(r".*/b/([^/]+)/o(?:/([^/?]+))?(?:\?.*)?")
_BODY_NAME = re.compile(rb'"name": *("(?:[^"\\\\]|\\\\.)*")')


class _Handler(gcp_storage_emulator.server.RequestHandler):
  """The emulator, with what it lacks of Google's answers.

  It knows no `Range: bytes=-N` (the last N bytes), by which ArrayRecord's
  reader finds the end of a file, and answers it with the whole file. It knows
  no `moveTo`, by which gcsfs renames. It knows no conditions on an object's
  generation, by which two writers are kept apart, and does not tell it with the
  content, which TensorStore wants. Its storage is for one thread: all but the
  reading of an object, which ends when the reader likes, takes turns.
  """

  def do_POST(self):
    with self.server.turn:
      if self._may():
        self._post()

  def do_PUT(self):
    with self.server.turn:
      super().do_PUT()

  def do_PATCH(self):
    with self.server.turn:
      super().do_PATCH()

  def do_DELETE(self):
    with self.server.turn:
      if self._may():
        super().do_DELETE()

  def _may(self):
    """Whether a write is allowed; else it is answered here."""
    status = None
    found = _NAMED.fullmatch(self.path)
    name = self._name(found) if found else ""
    if self.server.cut(name):
      self.close_connection = True
      return False
    if found and any(re.search(x, name) for x in self.server.forbidden):
      status = http.HTTPStatus.FORBIDDEN
    elif found and "ifGenerationMatch=" in self.path:
      wanted = parse_qs(urlsplit(self.path).query)["ifGenerationMatch"][0]
      if wanted != self._generation(found[1], name):
        status = http.HTTPStatus.PRECONDITION_FAILED
    if status is None:
      return True
    self._refuse(status)
    return False

  def _refuse(self, status):
    """Answers as Google does what is not done."""
    error = {"code": status.value, "message": status.phrase}
    answer = json.dumps({"error": error}).encode()
    self.send_response(status)
    self.send_header("Content-Type", "application/json")
    self.send_header("Content-Length", str(len(answer)))
    self.end_headers()
    self.wfile.write(answer)

  def _name(self, found):
    """The object that a request is about: in its path, query or body."""
    query = parse_qs(urlsplit(self.path).query)
    if found[2] or "name" in query:
      return unquote(found[2]) if found[2] else query["name"][0]
    named = _BODY_NAME.search(self._body())
    return json.loads(named[1]) if named else ""

  def _body(self):
    """What is sent, which can be read again."""
    content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
    self.rfile = io.BytesIO(content)
    return content

  def _generation(self, bucket, name):
    """An object's generation; 0 if there is none."""
    found = self.storage.objects.get(bucket, {}).get(name)
    return found["generation"] if found else "0"

  def end_headers(self):
    found = _OBJECT.fullmatch(self.path)
    if self.command == "GET" and found and "alt=media" in self.path:
      generation = self._generation(found[1], unquote(found[2]))
      self.send_header("x-goog-generation", generation)
    super().end_headers()

  def _post(self):
    moved = _MOVE.fullmatch(self.path)
    if not moved:
      super().do_POST()
      return
    bucket, *names = map(unquote, moved.groups())
    try:
      moved_object = objects._copy(
        "http://127.0.0.1", self.storage, bucket, names[0], bucket, names[1]
      )
      self.storage.delete_file(bucket, names[0])
    except NotFound:
      self.send_error(http.HTTPStatus.NOT_FOUND)
      return
    answer = json.dumps(moved_object).encode()
    self.send_response(http.HTTPStatus.OK)
    self.send_header("Content-Type", "application/json")
    self.send_header("Content-Length", str(len(answer)))
    self.end_headers()
    self.wfile.write(answer)

  def do_GET(self):
    self.server.asked.append(self.path)
    if any(re.search(x, unquote(self.path)) for x in self.server.hidden):
      self._refuse(http.HTTPStatus.FORBIDDEN)
      return
    last = re.fullmatch(r"bytes=-(\d+)", self.headers.get("Range", ""))
    named = _OBJECT.fullmatch(self.path)
    if last and named:
      objects = self.storage.objects[named[1]]
      size = int(objects[unquote(named[2])]["size"])
      del self.headers["Range"]
      self.headers["Range"] = f"bytes={max(size - int(last[1]), 0)}-"
    turn = contextlib.nullcontext() if named else self.server.turn
    # ArrayRecord asks for all from a place on and hangs up when it has enough.
    with turn, contextlib.suppress(ConnectionError):
      super().do_GET()


class Bucket:
  """The running server; `url` for the environment, `asked` as a log.

  Objects whose names have one of the patterns in `forbidden` cannot be written
  or removed, those of `hidden` not be read. `cut` is asked about each object
  that is about to be written; if it says True, the line is cut instead.
  """

  cut = staticmethod(lambda name: False)

  def __init__(self):
    self._storage = Storage(use_memory_fs=True)
    buckets.create_bucket(BUCKET, self._storage)
    self._server = http.server.ThreadingHTTPServer(
      ("127.0.0.1", 0), functools.partial(_Handler, self._storage)
    )
    self._server.asked = self.asked = []
    self._server.turn = threading.Lock()
    self._server.forbidden = self.forbidden = []
    self._server.hidden = self.hidden = []
    self._server.cut = lambda name: self.cut(name)
    self.url = f"http://127.0.0.1:{self._server.server_port}"
    # Google's library and gcsfs read the first, ArrayRecord's C++ the second,
    # TensorStore the third. The emulator cannot say of which kind a bucket is.
    self.environment = {
      "STORAGE_EMULATOR_HOST": self.url,
      "CLOUD_STORAGE_EMULATOR_ENDPOINT": self.url,
      "TENSORSTORE_GCS_HTTP_URL": self.url,
      # Else TensorStore looks for a machine's account, half a minute long.
      "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
      "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
    }
    self._thread = threading.Thread(target=self._server.serve_forever)
    self._thread.start()

  def close(self):
    self._server.shutdown()
    self._thread.join()
    self._server.server_close()

  def upload(self, folder: pathlib.Path, to: str) -> None:
    """Copies all files below a folder into a folder of the bucket."""
    for path in folder.rglob("*"):
      if path.is_file():
        name = f"{to}/{path.relative_to(folder).as_posix()}"
        self.write(name, path.read_bytes())

  def names(self, folder: str) -> list[str]:
    """The objects below a folder of the bucket."""
    with self._server.turn:
      names = list(self._storage.objects[BUCKET])
    return [name for name in names if name.startswith(f"{folder}/")]

  def read(self, name: str) -> bytes:
    """The content of an object."""
    with self._server.turn:
      return self._storage.get_file(BUCKET, name)

  def write(self, name: str, content: bytes) -> None:
    """Writes an object."""
    request = urllib.request.Request(
      f"{self.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=media"
      f"&name={quote(name, safe='')}",
      data=content,
      headers={"Content-Type": "application/octet-stream"},
    )
    urllib.request.urlopen(request).close()

  def download(self, folder: str, to: pathlib.Path) -> None:
    """Copies all files of a folder of the bucket into a folder."""
    for name in self.names(folder):
      path = to / name.removeprefix(f"{folder}/")
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(self.read(name))
