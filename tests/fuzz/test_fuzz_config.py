"""Any --config.a.b=VALUE is a FlagError, a ConfigError, or keeps the types."""

import pathlib
from collections.abc import Mapping

import ml_collections
import pytest
from absl import flags
from hypothesis import strategies as st

from configs import quickstart
from fuzz_cases import fuzzed
from fuzz_data import RAW
from ltu_jax import config as config_lib
from ltu_jax import config_check, config_flag
from ltu_jax.config import ConfigError
from ltu_jax.config_flag import FlagError

ROOT = pathlib.Path(__file__).parents[2]


def _fields(config: Mapping, at: str = "") -> dict[str, object]:
  """Every field, "a.b.c", with its value; groups of fields too."""
  found = {}
  for key, value in config.items():
    found[f"{at}{key}"] = value
    if isinstance(value, Mapping):
      found |= _fields(value, f"{at}{key}.")
  return found


ORIGINAL = quickstart.get_config()
FIELDS = _fields(ORIGINAL)
NAMES = sorted(FIELDS)
LEAVES = [name for name in NAMES if not isinstance(FIELDS[name], Mapping)]

_CODE = (
  *("__import__('os').system('touch made')", "(lambda: open('made', 'w'))()"),
  *('f\'{open("made", "w")}\'', "[open('made', 'w') for x in (1,)]"),
  *("open('made', 'w')", "exec(\"open('made', 'w')\")", "!!python/name:os"),
)
_VALUES = (
  st.sampled_from(_CODE)
  | st.sampled_from(RAW)
  | st.integers().map(str)
  | st.floats().map(str)
  | st.text()
  | st.sampled_from(("True", "no", "1,2", "(1, 2)", "('a',)", "()", "'a'"))
  | st.sampled_from(("(" * 500 + ")" * 500, "9" * 5000, "1e400", "-1", "0"))
  | st.lists(st.text(max_size=5)).map(lambda x: repr(tuple(x)))
)
_NAMES = (
  st.sampled_from(NAMES)
  | st.sampled_from(NAMES).map(lambda name: f"{name}.more")
  | st.sampled_from(NAMES).map(lambda name: f"{name}[0]")
  | st.sampled_from(("__class__", "_fields", "data.__init__", "a[", "stages['"))
  | st.sampled_from(("unlock", "data.update", "__dict__.x", "lock()", ""))
  | st.text()
)
# Values that a field of a type may take.
_FITTING = {
  bool: st.sampled_from(("True", "false", "0", "1")),
  int: st.integers(-2, 40).map(str) | st.integers().map(str),
  float: st.floats().map(str) | st.sampled_from(("1e400", "-inf", "3")),
  str: st.text(),
  tuple: st.lists(
    st.text(max_size=5) | st.integers() | st.floats() | st.none(), max_size=3
  ).map(lambda x: repr(tuple(x))),
}


@st.composite
def _fitting(draw) -> tuple[str, str]:
  name = draw(st.sampled_from(LEAVES))
  return name, draw(_FITTING.get(type(FIELDS[name]), _VALUES))


# Of ml_collections, which loads a config file.
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
@fuzzed(
  "config overrides",
  settings=st.lists(_fitting(), min_size=1, max_size=3)
  | st.lists(st.tuples(_NAMES, _VALUES), min_size=1, max_size=2),
)
def test_types_stay_or_an_error(case, settings):
  values = flags.FlagValues()
  argv = ["main", f"--config={ROOT}/configs/quickstart.py"]
  argv += [f"--config.{name}={value}" for name, value in settings]
  with case.refuses(FlagError, ConfigError):
    flag = config_flag.define(values, argv)
    config_flag.parse(argv, values)
    config = config_flag.config(flag.value)
    _check_types(config, ORIGINAL, "config")
    config_check.check(config, 1)
    model = config_lib.model_config(config)
    texts = [model.lora.targets]
    config_lib.augment(config)
    for stage in config_lib.stages(config):
      texts += [stage.tasks, stage.datasets, stage.trainable]
    assert all(isinstance(x, str) for some in texts for x in some)
    config.to_json()


def _check_types(value: object, original: object, where: str) -> None:
  if isinstance(original, ml_collections.ConfigDict):
    assert isinstance(value, ml_collections.ConfigDict), where
    assert set(value) == set(original), where
    for key in original:
      _check_types(value[key], original[key], f"{where}.{key}")
  elif original is not None:
    assert type(value) is type(original), where
