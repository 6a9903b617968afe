"""The commands that prepare data, as lists of words; nothing is run here.

Flags are those of gcloud 528 (https://cloud.google.com/sdk/gcloud/reference:
compute instances create and delete, compute ssh, compute scp, storage rsync),
of `tfds build` and of Beam's pipeline options.
"""

import dataclasses
import pathlib
import shlex
from collections.abc import Sequence

HERE = pathlib.Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"

BEAM = "apache-beam[gcp]==2.77.0"
"""With what it takes to speak to Dataflow, which its workers' image has; the
version is that of REQUIREMENTS."""

IMAGE = ("debian-12", "debian-cloud")
"""Family and project; its Python is 3.11, for which tensorflow-io exists."""


@dataclasses.dataclass(frozen=True)
class Build:
  """A data set to be built.

  Attributes:
    manual_dir: Folder of the questions and the sounds, or gs://.
    data_dir: Where the data set goes.
    name: Data set and config.
    config: JSON of the builder's options; "" for none.
  """

  manual_dir: str
  data_dir: str
  name: str = "openaqa/full"
  config: str = ""

  def command(self, tfds: str = "tfds") -> list[str]:
    """`tfds build`, by the program `tfds`."""
    # A config of one's own brings its name along.
    name = self.name.partition("/")[0] if self.config else self.name
    words = [tfds, "build", name, "--imports=tfds_builders"]
    words += [f"--manual_dir={self.manual_dir}", f"--data_dir={self.data_dir}"]
    return words + ([f"--config={self.config}"] if self.config else [])


@dataclasses.dataclass(frozen=True)
class Vm:
  """A machine of Compute Engine.

  Attributes:
    name: Its name.
    project: Google's project.
    zone: Such as us-central1-a.
    machine_type: Such as n2-standard-16.
    disk_gb: Of its boot disk, the only one.
  """

  name: str
  project: str
  zone: str
  machine_type: str
  disk_gb: int

  @property
  def _place(self) -> list[str]:
    return [f"--project={self.project}", f"--zone={self.zone}"]

  def create(self) -> list[str]:
    """Creates it, with an account that may write to the project's buckets."""
    family, images = IMAGE
    return [
      *("gcloud", "compute", "instances", "create", self.name, *self._place),
      *(f"--machine-type={self.machine_type}", f"--image-family={family}"),
      *(f"--image-project={images}", f"--boot-disk-size={self.disk_gb}GB"),
      "--scopes=cloud-platform",
    ]

  def ssh(self, command: str) -> list[str]:
    """Runs a line of shell there."""
    start = ["gcloud", "compute", "ssh", self.name, *self._place]
    return [*start, f"--command={command}"]

  def copy(self, files: Sequence[pathlib.Path]) -> list[str]:
    """Copies files into the home folder there."""
    words = ["gcloud", "compute", "scp", *map(str, files), f"{self.name}:"]
    return words + self._place

  def delete(self) -> list[str]:
    """Deletes it, and its disk; does not ask."""
    start = ["gcloud", "compute", "instances", "delete", self.name]
    return [*start, *self._place, "--quiet"]

  def install(self, wheel: pathlib.Path) -> str:
    """Installs the environment there, from the files of `copy`."""
    return (
      "sudo apt-get update -qq && sudo apt-get install -y -qq python3-venv"
      " && python3 -m venv prepare"
      f" && prepare/bin/pip install -q -r {REQUIREMENTS.name}"
      f" && prepare/bin/pip install -q --no-deps --force-reinstall {wheel.name}"
    )

  def build(self, build: Build) -> str:
    """Builds there."""
    return shlex.join(build.command("prepare/bin/tfds"))


def environment(folder: pathlib.Path) -> list[list[str]]:
  """Makes the environment that starts a build on Dataflow, on this machine.

  Args:
    folder: Of the environment; one that is there is gone on with.
  """
  pip = [str(folder / "bin" / "pip"), "install", "-q"]
  return [
    ["python3.11", "-m", "venv", str(folder)],
    [*pip, "-r", str(REQUIREMENTS), BEAM],
  ]


def beam_options(
  *,
  project: str,
  region: str,
  temp_location: str,
  wheel: pathlib.Path,
  workers: int,
) -> str:
  """Beam's options for Dataflow, as `tfds build` takes them.

  Args:
    project: Google's project.
    region: Such as us-central1.
    temp_location: gs:// folder for what lies between.
    wheel: The code of this repository, which the workers install.
    workers: The most of them.

  Raises:
    ValueError: A value with a comma, at which `tfds build` cuts.
  """
  options = {
    "runner": "DataflowRunner",
    "project": project,
    "region": region,
    "temp_location": temp_location,
    "requirements_file": str(REQUIREMENTS),
    # Else Beam downloads all packages to send them along, TensorFlow among
    # them; the workers get them from the index.
    "requirements_cache": "skip",
    "extra_package": str(wheel),
    "max_num_workers": str(workers),
  }
  for name, value in options.items():
    if "," in value:
      raise ValueError(
        f"{name} is {value!r}; `tfds build` takes no comma in Beam's options"
      )
  return ",".join(f"{name}={value}" for name, value in options.items())


def upload(folder: pathlib.Path, to: str) -> list[str]:
  """Copies what is missing or differs of a folder into a bucket."""
  return ["gcloud", "storage", "rsync", str(folder), to, "--recursive"]
