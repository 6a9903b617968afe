"""README.md of a bundle: what the model is, as far as that is known.

Only what is set or was recorded is said. What nobody here can know, such as the
licence of the weights that a run started from, is left to be filled in.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ltu_jax.curriculum import Stage
from ltu_jax.models.ltu import LtuConfig

_FILL_IN = "**TO BE FILLED IN**"

_FRONT = """---
# To be filled in: what the base weights and the training data allow.
license: other
library_name: ltu_jax
pipeline_tag: audio-text-to-text
tags:
- audio
- ltu
---"""

_USE = """With ltu_jax installed, in place of FOLDER the folder of this file:

```bash
python -m ltu_jax.ask --bundle=FOLDER clip.wav "What can be heard?"
python -m ltu_jax.evaluate --bundle=FOLDER
```

The weights are safetensors with the names of the published PyTorch code;
config.json has all sizes and how the model was made."""

_FRAME_SECONDS, _STEP_SECONDS = 0.025, 0.01
"""Kaldi's frames: 25 ms every 10 ms."""


def model_card(
  cfg: LtuConfig,
  parameters: Mapping[str, int],
  stage: Stage | None,
  training: Mapping[str, Any],
) -> str:
  """Renders the card.

  Args:
    cfg: The model.
    parameters: How many each part of the model has.
    stage: The last stage that trained it; None if none did.
    training: How it was made; see `write_bundle`.

  Returns:
    Markdown, after a YAML header as the Hugging Face hub reads it.
  """
  seconds = _FRAME_SECONDS + (cfg.encoder.num_frames - 1) * _STEP_SECONDS
  sections = [
    _FRONT,
    "# LTU: an audio language model",
    f"It hears the first {seconds:.2f} s of a clip and answers questions about"
    " it in text. The architecture is LTU's (Listen, Think, and Understand,"
    " [arXiv 2305.10790](https://arxiv.org/abs/2305.10790)).",
    _sizes(cfg, parameters),
    "## Use",
    _USE,
    "## Training",
    *_training(stage, training),
    "## Evaluation",
    "No result is recorded here; the second command above gives some.",
    "## Licence",
    f"{_FILL_IN}: the licence of the weights that it started from (see above)"
    " and of the data that it was trained on decide what may be done with it."
    " ltu_jax does not know them.",
  ]
  return "\n\n".join(sections) + "\n"


def _sizes(cfg: LtuConfig, parameters: Mapping[str, int]) -> str:
  """The table of parts."""
  encoder, llama, lora = cfg.encoder, cfg.llama, cfg.lora
  lines = {
    "encoder": f"{encoder.depth} blocks of width {encoder.dim}, "
    f"{encoder.heads} heads, patches of {encoder.patch_mels} mel bins x "
    f"{encoder.patch_frames} frames; float32",
    "projector": f"{encoder.dim} to {llama.dim}, {cfg.num_audio_tokens} tokens "
    "a clip; float32",
    "llama": f"decoder: {llama.layers} layers of width {llama.dim}, "
    f"{llama.heads} heads ({llama.kv_heads} for keys and values), "
    f"{llama.vocab} token ids; {llama.param_dtype}",
    "lora": f"adapters: rank {lora.rank}, alpha {lora.alpha:g}, on "
    f"{', '.join(lora.targets)}; float32",
  }
  rows = [
    (part, lines[part], f"{count:,}") for part, count in parameters.items()
  ]
  rows.append(("all", "", f"{sum(parameters.values()):,}"))
  return _table(("part", "what", "parameters"), rows)


def _training(stage: Stage | None, training: Mapping[str, Any]) -> list[str]:
  """What is known of how it was made."""
  known = []
  if origin := training.get("origin"):
    known.append("Started from:\n\n" + "\n".join(f"- {x}" for x in origin))
  if stage is None:
    known.append("Not trained by ltu_jax since.")
  else:
    known.append(f"The last stage was {stage.number}, {stage.name}.")
  config = training.get("config") or {}
  if config.get("data"):
    known.append(f"Data: {config['data']['name']}.")
  steps = {str(k): v for k, v in (training.get("steps") or {}).items()}
  losses = {str(row["stage"]): row for row in training.get("losses") or ()}
  names = {
    str(values["number"]): values["name"]
    for values in (config.get("stages") or {}).values()
  }
  if steps:
    known.append(
      _table(
        ("stage", "steps", "loss, first", "last tenth"),
        [
          (
            f"{number} {names.get(number, '')}".strip(),
            f"{count:,}",
            *_losses(losses.get(number, {})),
          )
          for number, count in steps.items()
        ],
      )
    )
  if not origin and not steps:
    known.append(f"{_FILL_IN}: nothing more was recorded.")
  return known


def _losses(row: Mapping[str, Any]) -> tuple[str, str]:
  """First loss and mean end loss; "-" where they were not recorded."""
  values = (row.get("first_loss"), row.get("mean_loss_last_tenth"))
  return tuple("-" if v is None else f"{v:.3f}" for v in values)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """A Markdown table."""
  lines = [head, ["---"] * len(head), *rows]
  return "\n".join("| " + " | ".join(line) + " |" for line in lines)
