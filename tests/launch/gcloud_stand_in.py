"""A gcloud that plays Google: TPU VMs are folders, workers local shells.

Run as a program; STAND_IN names its folder. A flag or a word that is not in
gcloud_reference.json is refused. What it is to do wrong stands in state.json.
"""

import fcntl
import json
import os
import pathlib
import subprocess
import sys

_FOLDER = pathlib.Path(os.environ.get("STAND_IN", "."))
_REFERENCE = pathlib.Path(__file__).with_name("gcloud_reference.json")
EMPTY = {"nodes": {}, "queued": {}, "faults": [], "granted": True, "down": []}


_MANY = ("gcloud services enable", "gcloud compute tpus tpu-vm scp")
"""Commands that take several words in one place."""


class Refused(Exception):
  """What gcloud would say, and its exit status."""


def parse(argv):
  """The command's name, its words and its flags; Refused if it has no such."""
  reference = json.loads(_REFERENCE.read_text())
  for length in range(len(argv), 0, -1):
    name = " ".join(["gcloud", *argv[:length]])
    if name in reference:
      break
  else:
    raise Refused(f"Invalid choice: {argv[0]!r}.")
  mine, every = reference[name], reference["every command"]
  words, flags = [], {}
  for word in argv[length:]:
    if not word.startswith("--"):
      words.append(word)
      continue
    flag, equals, value = word[2:].partition("=")
    kind = "values" if equals else "switches"
    if flag not in mine[kind] + every[kind]:
      raise Refused(f"unrecognized arguments: {word}")
    flags[flag] = value if equals else True
  if len(words) > len(mine["positionals"]) and name not in _MANY:
    raise Refused(f"unrecognized arguments: {words[-1]}")
  return name, words, flags


def main(argv):
  state = _load()
  with (_FOLDER / "calls.jsonl").open("a") as file:
    file.write(json.dumps(argv) + "\n")
  try:
    name, words, flags = parse(argv)
  except Refused as error:
    return _complain(argv, str(error), 2)
  for fault in state["faults"]:
    if fault["times"] and fault["command"] in name:
      fault["times"] -= 1
      _save(state)
      return _complain(argv, fault["says"], fault.get("status", 1))
  group, verb = name.split()[-2:]
  try:
    status = globals()[f"_{verb}"](state, group, words, flags)
  except Refused as error:
    return _complain(argv, str(error), 1)
  if verb in ("create", "delete"):
    _save(state)
  return status or 0


def _create(state, group, words, flags):
  name = words[0]
  kind = "queued" if group == "queued-resources" else "nodes"
  if name in state[kind]:
    raise Refused(f"ALREADY_EXISTS: Resource '{name}' already exists")
  workers = max(1, int(flags["accelerator-type"].rpartition("-")[2]) // 8)
  node = {"state": "READY", "networkEndpoints": [{}] * workers}
  if kind == "queued":
    node["name"] = flags["node-id"]
    queued = "ACTIVE" if state["granted"] else "WAITING_FOR_RESOURCES"
    state["queued"][name] = {"state": {"state": queued}, "node": node}
    if not state["granted"]:
      return
  state["nodes"][name] = node


def _describe(state, group, words, flags):
  kind = "queued" if group == "queued-resources" else "nodes"
  if words[0] not in state[kind]:
    raise Refused(f"NOT_FOUND: Resource '{words[0]}' was not found")
  print(json.dumps(state[kind][words[0]]))


def _delete(state, group, words, flags):
  kind = "queued" if group == "queued-resources" else "nodes"
  name = words[0]
  if name not in state[kind]:
    raise Refused(f"NOT_FOUND: Resource '{name}' was not found")
  if kind == "queued" and name in state["nodes"] and "force" not in flags:
    raise Refused("FAILED_PRECONDITION: the request has nodes")
  del state[kind][name]
  if state["nodes"].pop(name, None) is not None or kind == "nodes":
    # Also where something still writes.
    subprocess.run(["rm", "-rf", str(_FOLDER / "homes" / name)])


def _homes(state, name, flags):
  """The home folders of the workers that are meant."""
  node = state["nodes"].get(name)
  if node is None:
    raise Refused(f"NOT_FOUND: Resource '{name}' was not found")
  if node["state"] != "READY":
    raise Refused(f"The TPU is in state {node['state']}")
  workers = range(len(node["networkEndpoints"]))
  if flags.get("worker", "0") != "all":
    workers = [int(flags.get("worker", "0"))]
  homes = [_FOLDER / "homes" / name / str(worker) for worker in workers]
  for home in homes:
    home.mkdir(parents=True, exist_ok=True)
  return homes


def _scp(state, group, words, flags):
  source, target = words
  name, _, path = target.partition(":")
  for home in _homes(state, name, flags):
    (home / path).write_bytes(pathlib.Path(source).read_bytes())


def _ssh(state, group, words, flags):
  """Runs the command in a shell for each worker at once, as sshd would."""
  homes = _homes(state, words[0], flags)
  shells = [_shell(state, home, flags["command"]) for home in homes]
  statuses = [shell.wait() for shell in shells]
  for worker, status in enumerate(statuses):
    if status and len(homes) > 1:
      text = f"##### Command execution on worker {worker} failed with exit"
      print(f"{text} status {status}. Continuing.", file=sys.stderr)
  return next(filter(None, statuses), 0)


def _shell(state, home, command):
  """Starts a shell, in a session of its own as a login has."""
  if int(home.name) in state["down"]:
    text = "[/usr/bin/ssh] exited with return code [255]."
    words = ["sh", "-c", f"echo '{text}' >&2; exit 255"]
    return subprocess.Popen(words)
  path = f"{_FOLDER / 'worker_bin'}:/usr/bin:/bin"
  environ = {"HOME": str(home), "PATH": path, "LANG": "C.UTF-8"}
  words = ["bash", "-c", command]
  return subprocess.Popen(words, cwd=home, env=environ, start_new_session=True)


def _complain(argv, text, status):
  words = [word for word in argv if not word.startswith("-")][:4]
  print(f"ERROR: (gcloud.{'.'.join(words)}) {text}", file=sys.stderr)
  return status


def _load():
  path = _FOLDER / "state.json"
  return (
    json.loads(path.read_text())
    if path.exists()
    else json.loads(json.dumps(EMPTY))
  )


def _save(state):
  path = _FOLDER / "state.json"
  with (_FOLDER / "lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    path.with_suffix(".new").write_text(json.dumps(state))
    path.with_suffix(".new").replace(path)


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
