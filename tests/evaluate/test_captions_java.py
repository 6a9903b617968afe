"""What keeps Java's metrics from being computed is said in words."""

import pathlib
import sys
import time

import pytest

from ltu_jax.evaluate.captions import java, meteor, spice


@pytest.fixture(name="stand_in")
def _stand_in(tmp_path, monkeypatch):
  """Makes JAVA_HOME a folder whose java is a shell script."""

  def make(script: str) -> None:
    path = tmp_path / "bin" / "java"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))

  return make


def test_java_tells_its_version():
  assert java.version() >= 8


@pytest.mark.parametrize(
  ("text", "number"),
  [
    ('openjdk version "1.8.0_312"', 8),
    ('java version "11.0.2" 2019-01-15', 11),
    ('openjdk version "17" 2021-09-14', 17),
  ],
)
def test_versions(stand_in, text, number):
  stand_in(f"echo '{text}' >&2")
  assert java.version() == number


def test_no_java(monkeypatch, tmp_path):
  monkeypatch.delenv("JAVA_HOME", raising=False)
  monkeypatch.setenv("PATH", str(tmp_path))
  with pytest.raises(java.NotComputedError, match="no `java` in JAVA_HOME"):
    meteor.statistics(["a"], [["a"]])


def test_no_package(monkeypatch):
  for name in [x for x in sys.modules if x.split(".")[0] == "pycocoevalcap"]:
    monkeypatch.delitem(sys.modules, name)
  monkeypatch.setattr(sys, "path", [])
  for metric in (meteor.statistics, spice.spice):
    with pytest.raises(java.NotComputedError, match="pycocoevalcap is not"):
      metric(["a"], [["a"]])


def test_no_files(tmp_path):
  (tmp_path / "there.jar").touch()
  with pytest.raises(
    java.NotComputedError, match=rf"gone\.jar is not in {tmp_path}; reinstall"
  ):
    java.need(tmp_path, ["there.jar", "gone.jar"])


def test_a_java_that_fails():
  with pytest.raises(
    java.NotComputedError, match=r"exit status 1\): .*jarfile gone\.jar"
  ):
    java.run(["-jar", "gone.jar"], limit_s=60)


def test_too_little_memory():
  folder = java.package("tokenizer")
  jar = next(folder.glob("stanford-corenlp-*.jar"))
  with pytest.raises(java.NotComputedError, match=r"memory within .* 6M"):
    java.run(
      ["-cp", str(jar), "edu.stanford.nlp.process.PTBTokenizer"],
      limit_s=60,
      given="word " * 10**6 + "x" * 10**7,
      memory="6M",
    )


def test_a_hanging_java_is_killed_with_its_children(stand_in, tmp_path):
  mark = tmp_path / "alive"
  stand_in(f"(sleep 3; touch {mark}) &\nwait")
  start = time.monotonic()
  with pytest.raises(
    java.NotComputedError, match=r"not end within 0\.5 s and was killed"
  ):
    java.run([], limit_s=0.5)
  # Had it waited for the child, which holds the pipe, it would be over 3 s.
  assert time.monotonic() - start < 2.5
  time.sleep(max(0, start + 3.5 - time.monotonic()))
  assert not mark.exists()


def test_a_killed_java(stand_in):
  stand_in("kill -9 $$")
  with pytest.raises(java.NotComputedError, match=r"SIGKILL.*memory"):
    java.run([], limit_s=60)


def test_a_java_that_does_not_start(stand_in, tmp_path):
  stand_in("")
  (tmp_path / "bin" / "java").write_text("#!/of/nobody\n")
  with pytest.raises(java.NotComputedError, match="does not start"):
    java.run([], limit_s=60)


def test_a_program_that_answers_something_else(stand_in):
  stand_in("echo Error: what is this")
  with pytest.raises(
    java.NotComputedError, match=r"1 lines to 2 items, .*what is this"
  ):
    meteor.statistics(["a", "b"], [["a"], ["b"]])


def test_spice_says_all_that_is_missing(stand_in):
  stand_in("echo 'openjdk version \"17.0.1\"'")
  with pytest.raises(java.NotComputedError) as caught:
    spice.spice(["a"], [["a"]])
  said = str(caught.value)
  assert "stanford-corenlp-3.6.0.jar and " in said
  assert "stanford-corenlp-3.6.0-models.jar are not in" in said
  assert "python -m pycocoevalcap.spice.get_stanford_models" in said
  assert "needs Java 8 to 14" in said
  assert "is Java 17" in said


@pytest.mark.parametrize(
  ("text", "message"),
  [
    (None, "no result"),
    ("", "no result"),
    ("{}", "scored 0 items of 1"),
    ('[{"image_id": 0}]', "no result"),
    ('[{"image_id": 0, "scores": {"All": {"f": null}}}]', "no result"),
  ],
)
def test_a_damaged_result_of_spice(tmp_path, text, message):
  path = pathlib.Path(tmp_path, "out")
  if text is not None:
    path.write_text(text)
  with pytest.raises(java.NotComputedError, match=message):
    spice.read(path, 1)
