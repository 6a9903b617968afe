"""From a Hugging Face decoder to a trained LTU and back, as a user goes."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import transformers

import llama_oracle
import tiny_bpe
from ltu_jax import ask, base, train
from ltu_jax.base_reader import BaseReader
from ltu_jax.bundle import load_bundle
from ltu_jax.checkpoint import CheckpointError
from ltu_jax.config import ConfigError
from ltu_jax.convert.__main__ import main as convert
from ltu_jax.convert.from_run import open_base, open_run
from ltu_jax.data.bpe_tokenizer import JsonTokenizer
from ltu_jax.trained import load_trained
from tiny_run import tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
  """A LLaMA folder of transformers: grouped-query, 320 ids, a BPE of 300."""
  folder = tmp_path_factory.mktemp("decoder") / "hf"
  sizes = {"num_attention_heads": 4, "num_key_value_heads": 2}
  llama_oracle.random_llama(vocab_size=320, **sizes).save_pretrained(folder)
  tiny_bpe.write_folder(folder)
  return folder


def config_on(base_folder, sounds):
  config = tiny(sounds, base=str(base_folder))
  stages = {name: config.stages[name] for name in ("stage1", "stage2")}
  config.stages = {k: v.to_dict() for k, v in stages.items()}
  return config


@pytest.fixture(scope="module")
def run(decoder, sounds, tmp_path_factory):
  """A run of two stages on the imported decoder: (base, workdir)."""
  root = tmp_path_factory.mktemp("run")
  command = ["import", f"--llama={decoder}", f"--out={root / 'base'}"]
  assert convert([*command, "--dtype=float32"]) == 0
  train.run(config_on(root / "base", sounds), str(root / "run"))
  return root / "base", root / "run"


def test_the_decoder_is_taken_with_sizes_and_tokenizer(run, decoder):
  _, workdir = run
  trained = load_trained(workdir)
  assert isinstance(trained.tokenizer, JsonTokenizer)
  assert trained.tokenizer.vocab_size == 300
  llama = trained.model.cfg.llama
  assert (llama.vocab, llama.heads, llama.kv_heads) == (320, 4, 2)
  # Only what nobody gave is drawn; the decoder is not copied.
  assert set(base.info(workdir / "base").parts) == {
    "encoder",
    "projector",
    "lora",
  }
  # Frozen: transformers' bits through import, training, and out again.
  tensors = open_run(workdir).tensors
  model = transformers.LlamaForCausalLM.from_pretrained(decoder)
  for name, wanted in model.state_dict().items():
    got = tensors[name].read()
    assert got.tobytes() == wanted.numpy().tobytes(), name
  lora = [n for n in tensors if "lora_B" in n]
  assert lora and all(np.any(tensors[name].read()) for name in lora)


def test_goes_on_and_says_what_does_not_fit(run, sounds, tmp_path, capsys):
  base_folder, workdir = run
  config = config_on(base_folder, sounds)
  train.run(config, str(workdir))
  out = capsys.readouterr().out
  assert f"{base_folder}: llama" in out
  assert "config.model.llama.dim: 16 -> 32" in out
  assert "stage 2: finished before, step 3" in out
  other = tmp_path / "other"
  shutil.copytree(base_folder, other)
  with pytest.raises(ConfigError, match=r"config\.base"):
    train.run(config_on(other, sounds), str(workdir))
  shutil.copytree(workdir, tmp_path / "moved", symlinks=True)
  (tmp_path / "moved" / "pretrained").unlink()
  (tmp_path / "moved" / "pretrained").symlink_to(tmp_path / "gone")
  with pytest.raises(CheckpointError, match="no base weights"):
    load_trained(tmp_path / "moved")
  config = config_on(base_folder, sounds)
  config.tokenizer.model = "none.model"
  with pytest.raises(ConfigError, match=r"none\.model"):
    train.run(config, str(tmp_path / "new"))


def test_a_run_as_the_base_of_another(run, decoder, sounds, tmp_path):
  _, workdir = run
  command = ["import", f"--run={workdir}", f"--out={tmp_path / 'all'}"]
  assert convert(command) == 0
  before, after = open_run(workdir), open_base(tmp_path / "all")
  assert after.cfg == before.cfg
  assert after.tokenizer.vocab_size == before.tokenizer.vocab_size
  assert after.tensors.keys() == before.tensors.keys()
  for name, tensor in before.tensors.items():
    assert tensor.read().tobytes() == after.tensors[name].read().tobytes(), name

  # The adapters go on from where they were.
  config = config_on(tmp_path / "all", sounds)
  config.stages = {"stage2": config.stages.stage2.to_dict()}
  config.stages.stage2.update(steps=1, warmup_steps=0, peak_lr=1e-9)
  train.run(config, str(tmp_path / "further"))
  for name, tensor in open_run(tmp_path / "further").tensors.items():
    # One step of Adam moves a number by the rate, 1e-9, at most; numbers of
    # 1e-2 and more are rounded to the same.
    wanted = before.tensors[name].read()
    np.testing.assert_allclose(tensor.read(), wanted, rtol=0, atol=2e-9)

  # Beside another decoder only the encoder is of use.
  command = [f"--llama={decoder}", f"--out={tmp_path / 'encoder'}"]
  assert convert(["import", f"--run={workdir}", *command]) == 0
  parts = base.info(tmp_path / "encoder").parts
  assert set(parts) == {"encoder", "llama"}
  assert parts["encoder"] == before.cfg.encoder
  # As any decoder that is imported, and unlike that of a run.
  assert parts["llama"].param_dtype == "bfloat16"


def test_out_again_for_transformers_and_peft(run, tmp_path):
  import peft

  _, workdir = run
  export = ["export", f"--workdir={workdir}"]
  for kind in ("hf", "peft"):
    command = [*export, f"--format={kind}", f"--out={tmp_path / kind}"]
    assert convert(command) == 0
  plain = ["--format=hf", "--unmerged", f"--out={tmp_path / 'plain'}"]
  assert convert([*export, *plain]) == 0
  load = transformers.LlamaForCausalLM.from_pretrained
  adapted = peft.PeftModel.from_pretrained(
    load(tmp_path / "plain"), tmp_path / "peft"
  )
  opened = open_run(workdir)
  decoder = {n: t for n, t in opened.tensors.items() if "audio" not in n}
  got = llama_oracle.our_logits(opened.cfg.llama, decoder, opened.cfg.lora)
  for model in (load(tmp_path / "hf"), adapted):
    wanted, tolerance = llama_oracle.their_logits(model)
    # Ten times what float32 loses there: see llama_oracle.
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance)
  tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
  text = "A dog barks at 1.5s"
  ids = tokenizer(text, add_special_tokens=False)["input_ids"]
  assert ids == opened.tokenizer.encode(text, bos=False, eos=False)


def test_a_bundle_answers_as_the_run(run, tmp_path, capsys):
  _, workdir = run
  bundle = tmp_path / "bundle"
  command = ["export", f"--workdir={workdir}", "--format=bundle"]
  assert convert([*command, f"--out={bundle}"]) == 0
  clip = tmp_path / "clip.wav"
  soundfile.write(clip, np.sin(np.arange(16000) / 5), 16000)
  answers = []
  capsys.readouterr()
  for source in (f"--workdir={workdir}", f"--bundle={bundle}"):
    asked = [source, "--json", "--max_new_tokens=8", str(clip), "What is it?"]
    assert ask.main(asked) == 0
    answers.append(json.loads(capsys.readouterr().out))
  assert answers[0] == answers[1]
  found = json.loads((bundle / "config.json").read_text())
  assert found["training"]["steps"] == {"1": 3, "2": 3}
  assert [x["stage"] for x in found["training"]["losses"]] == [1, 2]


def test_stages_are_exported_apart(run, tmp_path):
  """--stage=1 is the model before stage 2 trained encoder and adapters."""
  _, workdir = run
  one, two = (open_run(workdir, stage).tensors for stage in (1, 2))
  changed = {
    name
    for name in one
    if not np.array_equal(one[name].read(), two[name].read())
  }
  trained = {n for n in one if "audio" in n or "lora" in n}
  # All that the stage trains moves; a bias without gradient may stay.
  assert changed <= trained
  assert {n for n in trained - changed if not n.endswith("bias")} == set()
  assert not any(np.any(one[n].read()) for n in one if "lora_B" in n)
  with pytest.raises(CheckpointError, match="stage 3 has no checkpoint"):
    open_run(workdir, 3)
  there = ["--format=hf", f"--out={tmp_path}"]
  assert convert(["export", f"--workdir={workdir}", *there]) == 2


def test_a_decoder_of_integers_goes_out_as_it_came(run, sounds, tmp_path):
  folder, _ = run
  config = config_on(folder, sounds)
  config.stages = {"stage1": config.stages.stage1.to_dict()}
  config.model.llama.base_dtype = "int8"
  train.run(config, str(tmp_path / "run"))
  trained = load_trained(tmp_path / "run")
  matrix = trained.model.llama.layers.q_proj
  assert matrix.w[...].dtype == "int8"
  out = tmp_path / "bundle"
  command = ["export", f"--workdir={tmp_path / 'run'}", f"--out={out}"]
  assert convert([*command, "--format=bundle"]) == 0
  bundle = load_bundle(out)
  assert bundle.model.cfg == trained.model.cfg.unquantized
  whole = np.asarray(bundle.model.llama.layers.q_proj.w[...])
  assert whole.dtype == "float32"
  name = base.stored_name("llama/layers/q_proj/w", 0)
  np.testing.assert_array_equal(whole[0], BaseReader(folder).read(name))
  # Half a step of the largest weight, which is 127.5 of them, at most.
  restored = matrix.w[...] * matrix.w_scale[...]
  assert (
    0 < np.abs(restored - whole).max() <= 0.51 / 127.5 * np.abs(whole).max()
  )
