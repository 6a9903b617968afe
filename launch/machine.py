"""A TPU VM, or a request for one in Google's queue: make, look at, delete.

The states are those of the Cloud TPU API, v2:
https://cloud.google.com/tpu/docs/reference/rest/v2/projects.locations.nodes and
https://cloud.google.com/tpu/docs/queued-resources.
"""

import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

from launch.gcloud import Gcloud, GcloudError, tell
from launch.settings import Settings

_COMING = (
  *("CREATING", "STARTING", "RESTARTING", "REIMAGING", "REPAIRING"),
  *("ACCEPTED", "WAITING_FOR_RESOURCES", "PROVISIONING"),
)
"""States that lead to a usable machine, of both."""

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
"""What the machine's account may be used for: all that its roles allow."""

_REMIND_SECONDS = 1800
"""How often a long wait is told of."""


class MachineError(Exception):
  """A machine that is not in a state for what was asked."""


@dataclasses.dataclass(frozen=True)
class State:
  """What Google says of a machine.

  Attributes:
    queued: The request's state; "" if there is none.
    node: The machine's; "" if there is none.
    workers: How many hosts it has.
    detail: Why a request failed, and how well the machine is, if that is told.
  """

  queued: str = ""
  node: str = ""
  workers: int = 0
  detail: str = ""

  def is_there(self) -> bool:
    """Whether there is anything to delete."""
    return bool(self.queued or self.node)

  def is_ready(self) -> bool:
    """Whether it can be used."""
    return self.node == "READY" and self.queued in ("", "ACTIVE")

  def is_coming(self) -> bool:
    """Whether waiting will do."""
    if self.queued in ("", "ACTIVE"):
      # A request that has just been granted has its machine a little later.
      return self.node in _COMING or (self.queued != "" and not self.node)
    return self.queued in _COMING

  def __str__(self) -> str:
    """In a few words."""
    parts = []
    if self.queued:
      parts.append(f"request {self.queued}")
    if self.node:
      parts.append(f"machine {self.node}, {self.workers} worker(s)")
    return "; ".join([*parts, *filter(None, [self.detail])]) or "not there"


class Machine:
  """The one that the settings name."""

  def __init__(
    self,
    settings: Settings,
    gcloud: Gcloud,
    *,
    poll_seconds: float = 30,
    sleep: Callable[[float], None] = time.sleep,
  ):
    """Keeps what to ask, how, and how often."""
    self._settings, self._gcloud = settings, gcloud
    self._poll_seconds, self._sleep = poll_seconds, sleep

  def state(self, *, loud: bool = True, unasked: bool = False) -> State:
    """Asks for the state.

    Args:
      loud: Whether the commands are printed.
      unasked: Whether to look for a request where the settings speak of none.

    Raises:
      GcloudError: Google did not answer.
    """
    queued = {}
    if unasked or self._settings.queued_resource:
      queued = self._describe("queued-resources", loud)
    node = self._describe("tpu-vm", loud)
    failed = queued.get("state", {}).get("failedData", {}).get("error", {})
    health = node.get("health", "HEALTHY")
    about = [failed.get("message", "")]
    if health not in ("HEALTHY", "HEALTH_UNSPECIFIED"):
      about.append(f"{health} {node.get('healthDescription', '')}".strip())
    return State(
      queued=queued.get("state", {}).get("state", "") if queued else "",
      node=node.get("state", ""),
      workers=len(node.get("networkEndpoints", ())),
      detail="; ".join(filter(None, about)),
    )

  def create(self) -> None:
    """Makes the machine, unless it is there; returns when it is ready.

    Raises:
      MachineError: It is there, and will not become ready.
      GcloudError: Google refuses.
    """
    state = self.state()
    if state.is_ready():
      tell(f"{self._settings.name} is there already: {state}")
      return
    if not state.is_there():
      self._gcloud.run(self._create_words())
      if self._gcloud.dry_run:
        return
      state = self.state(loud=False)
    self._wait(state)

  def delete(self) -> None:
    """Deletes the request and the machine, whichever is there.

    Raises:
      GcloudError: Google refuses.
    """
    state = self.state(unasked=True)
    if self._gcloud.dry_run:
      state = State("ACTIVE", "READY")
    while "DELETING" in (state.queued, state.node):
      self._sleep(self._poll_seconds)
      state = self.state(loud=False, unasked=True)
    if not state.is_there():
      tell(f"{self._settings.name} is not there")
    if state.queued:
      # --force takes the machine along.
      self._gone("queued-resources", "--force")
      if not self._gcloud.dry_run:
        state = self.state(loud=False, unasked=True)
    if state.node:
      self._gone("tpu-vm")

  def _gone(self, group: str, *more: str) -> None:
    """Deletes one; it may be gone by then."""
    name = self._settings.name
    try:
      self._gcloud.run(
        self._gcloud.tpus(group, "delete", name, *more, "--quiet")
      )
    except GcloudError as error:
      if error.kind != "absent":
        raise

  def _wait(self, state: State) -> None:
    """Waits until it is ready; tells each new state."""
    told, since, last = "", time.monotonic(), time.monotonic()
    while not state.is_ready():
      if not state.is_coming():
        raise MachineError(
          f"{self._settings.name}: {state}. It will not become ready: `delete`"
          " it, then `create` it again (`up --keep-alive` does both by itself)"
        )
      if str(state) != told or time.monotonic() - last > _REMIND_SECONDS:
        minutes = (time.monotonic() - since) / 60
        tell(f"{self._settings.name}: {state}; waiting, {minutes:.0f} min")
        told, last = str(state), time.monotonic()
      self._sleep(self._poll_seconds)
      state = self.state(loud=False)
    tell(f"{self._settings.name}: {state}")

  def _describe(self, group: str, loud: bool) -> dict[str, Any]:
    """What Google has on one; {} if it is not there."""
    words = self._gcloud.tpus(group, "describe", self._settings.name)
    command = [*words, "--format=json"]
    if loud:
      self._gcloud.show(command)
    if self._gcloud.dry_run:
      return {}
    try:
      return json.loads(self._gcloud.run(command, loud=False))
    except GcloudError as error:
      if error.kind != "absent":
        raise
      return {}

  def _create_words(self) -> list[str]:
    """The command that makes the machine, or asks for it in the queue."""
    settings, name = self._settings, self._settings.name
    version = settings.runtime_version()
    if settings.queued_resource:
      words = self._gcloud.tpus("queued-resources", "create", name)
      words += [f"--node-id={name}", f"--runtime-version={version}"]
    else:
      words = self._gcloud.tpus("tpu-vm", "create", name)
      words += [f"--version={version}"]
    words += [f"--accelerator-type={settings.type}", f"--scopes={_SCOPE}"]
    flags = {"--spot": settings.spot, "--reserved": settings.reserved}
    flags["--internal-ips"] = settings.internal_ips
    words += [flag for flag, wanted in flags.items() if wanted]
    values = {
      "--service-account": settings.service_account,
      "--network": settings.network,
      "--subnetwork": settings.subnetwork,
    }
    return words + [
      f"{flag}={value}" for flag, value in values.items() if value
    ]
