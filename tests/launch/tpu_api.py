"""Cloud TPU's REST interface on this machine, for Google's own gcloud.

https://cloud.google.com/tpu/docs/reference/rest; of the Compute API, what an
ssh of gcloud asks for. It keeps what is posted, and refuses on demand.
"""

import http.server
import json
import threading
import urllib.parse


class TpuApi:
  """Attributes:
  nodes, queued: What there is, by name.
  requests: (method, path, body) of all requests.
  refuse: {part of a path: (status, name, message)} of those that fail.
  """

  def __init__(self):
    self.nodes, self.queued = {}, {}
    self.requests, self.refuse = [], {}
    api = self

    class Handler(http.server.BaseHTTPRequestHandler):
      def answer(self):
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size) or "{}")
        status, answer = api(self.command, self.path, body)
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

      do_GET = do_POST = do_DELETE = do_PATCH = answer

      def log_message(self, *args):
        pass

    self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    self.port = self._server.server_port
    threading.Thread(target=self._server.serve_forever, daemon=True).start()

  def close(self):
    self._server.shutdown()
    self._server.server_close()

  def __call__(self, method, path, body):
    """The status and the answer."""
    self.requests.append((method, path, body))
    for part, (status, name, message) in self.refuse.items():
      if part in f"{method} {path}":
        error = {"code": status, "status": name, "message": message}
        return status, {"error": error}
    url = urllib.parse.urlsplit(path)
    query = dict(urllib.parse.parse_qsl(url.query))
    parts = url.path.strip("/").split("/")
    if parts[0] == "compute":
      return 200, {"name": "p", "commonInstanceMetadata": {"items": []}}
    collection, name = parts[5], parts[6] if len(parts) > 6 else ""
    if collection == "operations":
      return 200, self._operation(name)
    there = self.nodes if collection == "nodes" else self.queued
    if method == "POST" and not name:
      name = query["nodeId" if collection == "nodes" else "queuedResourceId"]
      self._create(collection, name, body)
      return 200, self._operation(f"create.{collection}.{name}")
    name = name.partition(":")[0]
    if name not in there:
      error = {"code": 404, "status": "NOT_FOUND"}
      message = f"Resource '{url.path[4:]}' was not found"
      return 404, {"error": error | {"message": message}}
    if method == "DELETE":
      del there[name]
      if collection == "queuedResources":
        self.nodes.pop(name, None)
      return 200, self._operation("delete.x.y")
    if url.path.endswith(":getGuestAttributes"):
      return 200, {"guestAttributes": []}
    if method == "PATCH":
      there[name] |= body
      return 200, self._operation(f"update.{collection}.{name}")
    return 200, there[name]

  def _create(self, collection, name, body):
    base = "projects/p/locations/us-central2-b"
    node = body
    if collection == "queuedResources":
      spec = body["tpu"]["nodeSpec"][0]
      node, node_name = spec["node"], spec["nodeId"]
      queued = {"name": f"{base}/queuedResources/{name}"}
      self.queued[name] = body | queued | {"state": {"state": "ACTIVE"}}
      name = node_name
    endpoints = [
      {"ipAddress": ip, "port": 8470, "accessConfig": {"externalIp": ip}}
      for ip in ("127.0.0.2", "127.0.0.3")
    ]
    self.nodes[name] = node | {
      "name": f"{base}/nodes/{name}",
      "state": "READY",
      "health": "HEALTHY",
      "apiVersion": "V2",
      "networkEndpoints": endpoints,
    }

  def _operation(self, name):
    """One that is done at once."""
    base = "projects/p/locations/us-central2-b"
    operation = {"name": f"{base}/operations/{name}", "done": True}
    verb, collection, of = name.split(".")
    metadata = {"verb": verb, "target": f"{base}/{collection}/{of}"}
    there = self.nodes if collection == "nodes" else self.queued
    kind = "Node" if collection == "nodes" else "QueuedResource"
    answer = {"@type": f"type.googleapis.com/google.cloud.tpu.v2.{kind}"}
    return operation | {
      "metadata": metadata,
      "response": answer | there.get(of, {}),
    }
