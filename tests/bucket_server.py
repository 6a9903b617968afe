"""A bucket on this machine: gcp-storage-emulator behind a loopback address."""

import contextlib
import functools
import http
import http.server
import json
import pathlib
import re
import threading
import urllib.request
from urllib.parse import quote, unquote

import gcp_storage_emulator.server
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import buckets, objects
from gcp_storage_emulator.storage import Storage

BUCKET = "sounds-and-questions"

_MOVE = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/moveTo/o/([^/?]+).*")
_OBJECT = re.compile(r"/storage/v1/b/([^/]+)/o/([^/?]+)\?.*")


class _Handler(gcp_storage_emulator.server.RequestHandler):
  """The emulator, with what it lacks of Google's answers.

  It knows no `Range: bytes=-N` (the last N bytes), by which ArrayRecord's
  reader finds the end of a file, and answers it with the whole file. It knows
  no `moveTo`, by which gcsfs renames. Its storage is for one thread: all but
  the reading of an object, which ends when the reader likes, takes turns.
  """

  def do_POST(self):
    with self.server.turn:
      self._post()

  def do_PUT(self):
    with self.server.turn:
      super().do_PUT()

  def do_PATCH(self):
    with self.server.turn:
      super().do_PATCH()

  def do_DELETE(self):
    with self.server.turn:
      super().do_DELETE()

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
  """The running server; `url` for the environment, `asked` as a log."""

  def __init__(self):
    self._storage = Storage(use_memory_fs=True)
    buckets.create_bucket(BUCKET, self._storage)
    self._server = http.server.ThreadingHTTPServer(
      ("127.0.0.1", 0), functools.partial(_Handler, self._storage)
    )
    self._server.asked = self.asked = []
    self._server.turn = threading.Lock()
    self.url = f"http://127.0.0.1:{self._server.server_port}"
    # etils and gcsfs read the one, ArrayRecord's C++ the other.
    self.environment = {
      "STORAGE_EMULATOR_HOST": self.url,
      "CLOUD_STORAGE_EMULATOR_ENDPOINT": self.url,
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
        request = urllib.request.Request(
          f"{self.url}/upload/storage/v1/b/{BUCKET}/o?uploadType=media"
          f"&name={quote(name, safe='')}",
          data=path.read_bytes(),
          headers={"Content-Type": "application/octet-stream"},
        )
        urllib.request.urlopen(request).close()

  def download(self, folder: str, to: pathlib.Path) -> None:
    """Copies all files of a folder of the bucket into a folder."""
    for name in self._storage.objects[BUCKET]:
      if name.startswith(f"{folder}/"):
        data = self._storage.get_file(BUCKET, name)
        (to / name.rpartition("/")[2]).write_bytes(data)
