import dataclasses

import pytest

from launch import run, settings, tpu_vm

_FILE = """
# mine
PROJECT=my-project
ZONE="us-central2-b"  # a comment
export TYPE=v4-32
SPOT=yes
"""


def _settings(argv):
  return settings.settings(tpu_vm._parser().parse_args(["create", *argv]))


def test_flags_win_over_the_file(tmp_path):
  file = tmp_path / "my.env"
  file.write_text(_FILE)
  got = _settings([f"--env={file}", "--zone=europe-west4-b", "--name=x"])
  assert got == settings.Settings(
    project="my-project",
    zone="europe-west4-b",
    type="v4-32",
    name="x",
    spot=True,
  )
  assert not _settings([f"--env={file}", "--no-spot"]).spot


@pytest.mark.parametrize(
  ("line", "told"),
  [
    ("ZONES=x", "line 1: unknown key ZONES; known are PROJECT, ZONE, TYPE"),
    ("zone=x", "unknown key zone"),
    ("ZONE", "is not KEY=VALUE"),
    ("ZONE=a b", "quote spaces"),
    ("ZONE='a", "No closing quotation"),
    ("ZONE=a\nZONE=b", "line 2: ZONE is given twice"),
    ("SPOT=perhaps", "say true or false"),
    ("NAME=Big", "--name=Big"),
    ("TYPE=v5e-8", "Google calls it v5litepod-8"),
    ("TYPE=v4", "--type=v4 is not"),
    ("BUCKET=gs://b/x", "leave gs:// and folders away"),
    ("SPOT=1\nRESERVED=1", "cannot be had together"),
  ],
)
def test_a_bad_line_is_told(tmp_path, line, told, capsys):
  file = tmp_path / "my.env"
  file.write_text(line)
  assert tpu_vm.main(["create", f"--env={file}"]) == 2
  assert told in capsys.readouterr().err


def test_what_is_missing_is_told(capsys):
  argv = ["--project=p", "--zone=z", "--name=n"]
  assert tpu_vm.main(["status", "--zone=z"]) == 2
  assert "--project, --name missing" in capsys.readouterr().err
  assert tpu_vm.main(["create", *argv, "--type=v9-8"]) == 2
  assert "--version is missing" in capsys.readouterr().err
  assert tpu_vm.main(["stop", *argv, "--", "x"]) == 2
  assert "stop takes nothing after --" in capsys.readouterr().err
  assert tpu_vm.main(["run", *argv, "--", "--config=c"]) == 2
  assert "--workdir is missing" in capsys.readouterr().err
  assert tpu_vm.main(["run", *argv, "--bucket=abc"]) == 2
  assert "--config is missing" in capsys.readouterr().err
  assert tpu_vm.main(["run", *argv, "--set=1", "--", "--config=c"]) == 2


@pytest.mark.parametrize(
  # Versions: cloud.google.com/tpu/docs/runtimes. Devices: README, "On a TPU".
  ("kind", "version", "devices"),
  [
    ("v3-8", "tpu-ubuntu2204-base", 8),
    ("v4-32", "tpu-ubuntu2204-base", 16),
    ("v5litepod-16", "v2-alpha-tpuv5-lite", 16),
    ("v5p-8", "v2-alpha-tpuv5", 4),
    ("v6e-8", "v2-alpha-tpuv6e", 8),
  ],
)
def test_what_belongs_to_a_type(kind, version, devices):
  got = settings.Settings(type=kind)
  assert (got.runtime_version(), got.num_devices()) == (version, devices)
  got = dataclasses.replace(got, version="mine")
  assert got.runtime_version() == "mine"


def test_a_bucket_gives_what_is_not_given():
  bucket = settings.Settings(name="ltu", bucket="my-bucket")
  assert run.main_command(bucket, ["--config=c.py"], ["A=b c"]) == [
    "env",
    "JAX_COMPILATION_CACHE_DIR=gs://my-bucket/compiled",
    "A=b c",
    "../ltu_jax_venv/bin/python",
    "-m",
    "ltu_jax.main",
    "--config=c.py",
    "--workdir=gs://my-bucket/runs/ltu",
    "--config.data.dir=gs://my-bucket/tfds",
  ]
  given = ["--config", "c.py", "-workdir=w", "--config.data.dir=d"]
  assert run.main_command(bucket, given)[-4:] == given


def test_the_flags_are_in_google_s_words(capsys):
  """Each setting comes out where gcloud's reference has it."""
  argv = [
    *("create", "--dry-run", "--project=p", "--zone=z", "--name=n"),
    *("--type=v6e-8", "--network=net", "--subnetwork=sub", "--internal-ips"),
    *("--service-account=a@p.iam.gserviceaccount.com", "--reserved"),
  ]
  import gcloud_stand_in

  for more, node in (([], {}), (["--queued-resource"], {"node-id": "n"})):
    assert tpu_vm.main([*argv, *more]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    name, words, flags = gcloud_stand_in.parse(line.split()[1:])
    version = "runtime-version" if node else "version"
    group = "queued-resources" if node else "tpu-vm"
    assert (name, words) == (f"gcloud compute tpus {group} create", ["n"])
    assert flags == node | {
      "zone": "z",
      "project": "p",
      "accelerator-type": "v6e-8",
      version: "v2-alpha-tpuv6e",
      "network": "net",
      "subnetwork": "sub",
      "internal-ips": True,
      "reserved": True,
      "scopes": "https://www.googleapis.com/auth/cloud-platform",
      "service-account": "a@p.iam.gserviceaccount.com",
    }
