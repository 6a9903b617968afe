"""Hugging Face's ASTModel against ours: the oracle is transformers."""

import functools
import json
import re

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
import transformers

import source_encoder
from ltu_jax.audio.fbank import CLIP_SAMPLES, log_mel
from ltu_jax.convert.hf_ast import from_names, read_hf_ast
from ltu_jax.convert.hf_ast_config import encoder_config
from ltu_jax.convert.tensors import ConversionError, of_array

FRAMES = 256
SIZES = {
  "hidden_size": 32,
  "num_hidden_layers": 3,
  "num_attention_heads": 4,
  "intermediate_size": 64,
  "frequency_stride": 16,
  "time_stride": 16,
  "max_length": FRAMES,
}


@functools.cache
def model(kind=transformers.ASTForAudioClassification):
  """An AST whose every parameter is random, positions and tokens too."""
  config = transformers.ASTConfig(**SIZES)
  torch.manual_seed(0)
  ast = kind(config).eval()
  with torch.no_grad():
    for name, parameter in ast.named_parameters():
      is_scale = "layernorm" in name and name.endswith("weight")
      parameter.normal_(mean=float(is_scale), std=0.3)
  return ast


def clip(num_samples: int = 30000) -> np.ndarray:
  """Noise, shorter than FRAMES: 30000 samples are 186 frames."""
  rng = np.random.default_rng(0)
  return (rng.standard_normal(num_samples) / 10).astype(np.float32)


def features(extractor: transformers.ASTFeatureExtractor) -> np.ndarray:
  """[2, FRAMES, 128], normalised; of a short clip, padded, and of a long."""
  clips = [clip(), clip(60000)]
  return np.stack(extractor(clips, sampling_rate=16000)["input_values"])


def extractor(**changes) -> transformers.ASTFeatureExtractor:
  return transformers.ASTFeatureExtractor(max_length=FRAMES, **changes)


def ltu_features() -> np.ndarray:
  """The same clips, normalised as LTU does it; constants of REFERENCE.md."""
  return (features(extractor(do_normalize=False)) + 5.081) / 4.4849


def want(ast, x: np.ndarray) -> tuple[np.ndarray, float]:
  """Patch features by transformers, and what rounding may change.

  The tolerance is ten times the difference of its float32 and float64 runs,
  which leaves room for another order of summation.
  """
  ast = getattr(ast, "audio_spectrogram_transformer", ast)
  with torch.no_grad():
    single = ast(torch.from_numpy(x)).last_hidden_state.double()
    try:
      double = ast.double()(torch.from_numpy(x).double()).last_hidden_state
    finally:
      ast.float()
  atol = 10 * float((single - double).abs().max())
  assert atol < 1e-3  # of features around 1
  return double[:, 2:].numpy(), atol


def run(source) -> np.ndarray:
  return np.asarray(source_encoder.encoder(source)(ltu_features()))


@pytest.mark.parametrize(
  "kind", [transformers.ASTModel, transformers.ASTForAudioClassification]
)
def test_folder_gives_the_same_patch_features(tmp_path, kind):
  model(kind).save_pretrained(tmp_path)
  extractor().save_pretrained(tmp_path)
  source = read_hf_ast(tmp_path)
  cfg = source.parts["encoder"]
  assert (cfg.dim, cfg.depth, cfg.heads, cfg.mlp_ratio) == (32, 3, 4, 2)
  assert (cfg.num_frames, cfg.norm_eps, cfg.prefix_tokens) == (256, 1e-12, 2)
  out, atol = want(model(kind), features(extractor()))
  np.testing.assert_allclose(run(source), out, rtol=0, atol=atol)
  has_head = kind is transformers.ASTForAudioClassification
  assert has_head == any(
    "dropped 4 tensors of the classification head: classifier.dense.bias" in n
    for n in source.notes
  )
  assert any("clips of 256 frames" in note for note in source.notes)


# The first are those of MIT/ast-finetuned-speech-commands-v2.
@pytest.mark.parametrize(
  "changes",
  [{"mean": -6.845978, "std": 5.5654526}, {"do_normalize": False}],
)
def test_other_normalisations(tmp_path, changes):
  model().save_pretrained(tmp_path)
  extractor(**changes).save_pretrained(tmp_path)
  # The full clip alone: a padded cell is 0 without normalisation, where
  # transformers rounds nothing, but 1.13 in ours.
  out, atol = want(model(), features(extractor(**changes))[1:])
  source = read_hf_ast(tmp_path)
  got = source_encoder.encoder(source)(ltu_features()[1:])
  np.testing.assert_allclose(got, out, rtol=0, atol=atol)


def state(ast=None) -> dict:
  """Names and tensors of a state dict, which are not those of the files."""
  named = (ast or model()).state_dict()
  return {
    name: of_array(value.numpy(), f"file: {name}")
    for name, value in named.items()
  }


def test_names_of_a_state_dict_and_no_preprocessor():
  source = from_names(state(), SIZES, {})
  out, atol = want(model(), features(extractor()))
  np.testing.assert_allclose(run(source), out, rtol=0, atol=atol)
  assert "the defaults, as there is no preprocessor_config" in source.notes[0]


def test_tokens_are_attended_to():
  """The test above would show it if the tokens were left out."""
  source = from_names(state(), SIZES, {})
  del source.tensors["model.audio_encoder.prefix_tokens"]
  out, atol = want(model(), features(extractor()))
  without = source_encoder.encoder(source, prefix_tokens=0)(ltu_features())
  assert np.abs(without - out).max() > 100 * atol


def test_extractor_pads_and_computes_as_ltu_does():
  pcm = np.zeros((1, CLIP_SAMPLES), np.float32)
  pcm[0, :30000] = clip()
  got = jax.jit(functools.partial(log_mel, num_frames=FRAMES))(
    jnp.asarray(pcm), jnp.array([30000])
  )[0]
  want = ltu_features()[0]
  # As in test_fbank.py: what float32 does to single cells of quiet filters.
  np.testing.assert_allclose(got, want, rtol=0, atol=5e-3)
  # Zeros before normalising: 5.081 / 4.4849.
  np.testing.assert_allclose(got[186:], 1.1329126, rtol=1e-6)
  np.testing.assert_allclose(want[186:], 1.1329126, rtol=1e-6)


def test_half_precision_weights():
  ast = transformers.ASTModel(transformers.ASTConfig(**SIZES)).bfloat16()
  named = {
    name: of_array(value.float().numpy().astype(ml_dtypes.bfloat16))
    for name, value in ast.state_dict().items()
  }
  source = from_names(named, SIZES, {})
  for name, tensor in source.tensors.items():
    exact = re.search(r"patch_embed|prefix|modality", name)
    assert tensor.dtype == (np.float32 if exact else ml_dtypes.bfloat16), name
    assert tensor.read().dtype == tensor.dtype


def test_public_geometry_is_an_error_that_gives_both(tmp_path):
  """MIT/ast-finetuned-audioset-10-10-0.4593 has ASTConfig's defaults."""
  transformers.ASTConfig().save_pretrained(tmp_path)
  with pytest.raises(ConversionError) as e:
    read_hf_ast(tmp_path)
  message = str(e.value)
  assert str(tmp_path) in message
  assert (
    "of this AST  patches of 16 x 16, stride 10 x 10, of 128 mels x 1024 "
    "frames: 12 x 101 = 1212 patches"
  ) in message
  assert (
    "of LTU       patches of 16 x 16, stride 16 x 16, of 128 mels x 1024 "
    "frames: 8 x 64 = 512 patches"
  ) in message
  # 1212 is what transformers makes of it, with two tokens.
  small = transformers.ASTConfig(
    hidden_size=8, num_hidden_layers=1, num_attention_heads=1
  )
  table = transformers.ASTModel(small).embeddings.position_embeddings
  assert table.shape[1] == 1214


@pytest.mark.parametrize(
  ("config", "preprocessor", "messages"),
  [
    ({"patch_size": 8}, {}, ["8 x 8, stride 16 x 16", "16 x 16, stride 16"]),
    ({"num_mel_bins": 64}, {}, ["64 mels x 256", "128 mels x 1024"]),
    ({"max_length": 15}, {}, ["8 x 0 = 0 patches", "8 x 64"]),
    (
      {"hidden_act": "relu", "qkv_bias": False, "num_attention_heads": 5},
      {"sampling_rate": 8000, "max_length": 1024},
      [
        "hidden_act +relu, not gelu",
        "qkv_bias +false, not true",
        "hidden_size +32 is no multiple of num_attention_heads 5",
        "sampling_rate +8000, not 16000",
        "max_length +1024, not 256",
      ],
    ),
    (
      {"hidden_size": "32", "num_hidden_layers": True, "time_stride": 0},
      {"std": 0, "mean": float("nan"), "do_normalize": "yes"},
      [
        "hidden_size +'32', not a positive integer",
        "num_hidden_layers +True, not a positive integer",
        "time_stride +0, not a positive integer",
        "std +0, not a number above 0",
        "mean +nan, not a number",
        "do_normalize +'yes', not true or false",
      ],
    ),
  ],
)
def test_all_that_does_not_fit_is_listed(config, preprocessor, messages):
  with pytest.raises(ConversionError) as e:
    encoder_config(SIZES | config, preprocessor, "folder")
  for message in messages:
    assert re.search(message, str(e.value)), str(e.value)
  assert len(str(e.value).splitlines()) == 1 + len(messages)


@pytest.mark.parametrize("text", ["{", "[]", '{"model_type": "vit"}', None])
def test_other_folders_are_one_clear_error(tmp_path, text):
  if text is not None:
    (tmp_path / "config.json").write_text(text)
  with pytest.raises(ConversionError, match=re.escape("config.json")):
    read_hf_ast(tmp_path)


def test_folder_without_weights(tmp_path):
  config = SIZES | {"model_type": "audio-spectrogram-transformer"}
  (tmp_path / "config.json").write_text(json.dumps(config))
  with pytest.raises(ConversionError, match=re.escape(str(tmp_path))):
    read_hf_ast(tmp_path)


def test_weights_that_are_not_of_the_config_are_listed():
  tensors = state(model(transformers.ASTModel))
  del tensors["layers.1.attention.q_proj.bias"]
  tensors["layernorm.weight"] = of_array(np.zeros(31, np.float32))
  tensors["pooler.weight"] = of_array(np.zeros(3, np.float32))
  twice = tensors["layers.0.mlp.fc1.bias"]
  tensors["encoder.layer.0.intermediate.dense.bias"] = twice
  with pytest.raises(ConversionError) as e:
    from_names(tensors, SIZES | {"num_hidden_layers": 3}, {}, "folder")
  lines = str(e.value).splitlines()
  for message in (
    r"missing +encoder\.layer\.1\.attention\.attention\.query\.bias +\(32,\)",
    r"mis-shaped +layernorm\.weight +\(31,\), not \(32,\)",
    r"unexpected +pooler\.weight +\(3,\)",
    r"twice +encoder\.layer\.0\.intermediate\.dense\.bias",
  ):
    assert re.search(message, str(e.value)), str(e.value)
  assert len(lines) == 5 and lines[0].startswith("folder:")
