"""LTU put together from transformers and peft, to measure ours against.

The encoder is their ASTModel (with two tokens more than LTU's), the decoder
their LLaMA with PEFT's adapters; between them the published projection.
Letters: B rows, A audio tokens, T text tokens, E encoder width, D width.
"""

import pathlib

import numpy as np
import peft
import torch
import transformers
from torch import nn

from ltu_jax.audio.fbank import NORM_MEAN, NORM_STD

_PREFIX = 2  # class and distillation tokens of AST
_FREQUENCIES, _TIMES = 8, 64
AUDIO_TOKENS = _TIMES // 2


class PytorchLtu(nn.Module):
  """The loss of a batch whose rows all have audio."""

  def __init__(
    self,
    encoder: dict[str, int],
    decoder: dict[str, int],
    rank: int,
    dtype: torch.dtype,
    checkpointing: bool,
  ):
    """Draws all weights.

    Args:
      encoder: fields of ASTConfig.
      decoder: fields of LlamaConfig.
      rank: of the adapters on q_proj and v_proj.
      dtype: of the decoder's weights, and of all activations.
      checkpointing: keep the inputs of the layers alone.
    """
    super().__init__()
    torch.manual_seed(0)
    self.dtype = dtype
    ast = transformers.ASTConfig(
      frequency_stride=16,
      time_stride=16,
      max_length=1024,
      hidden_dropout_prob=0.0,
      attention_probs_dropout_prob=0.0,
      **encoder,
    )
    self.encoder = transformers.ASTModel(ast)
    llama = transformers.LlamaConfig(use_cache=False, **decoder)
    with torch.device("cpu"):
      model = transformers.LlamaForCausalLM(llama).to(dtype)
    lora = peft.LoraConfig(
      r=rank,
      lora_alpha=2 * rank,
      lora_dropout=0.0,
      target_modules=["q_proj", "v_proj"],
      task_type="CAUSAL_LM",
    )
    self.decoder = peft.get_peft_model(model, lora)
    for name, weight in self.decoder.named_parameters():
      if "lora_B" in name:  # zero, as made, would hide the adapters
        nn.init.normal_(weight, std=0.02)
    self.projection = nn.Linear(ast.hidden_size, llama.hidden_size)
    if checkpointing:
      self.decoder.gradient_checkpointing_enable({"use_reentrant": False})
      self.encoder.gradient_checkpointing_enable({"use_reentrant": False})

  def forward(self, fbank: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of the text but its first token, and padding.

    Padding follows the text: causal attention does not see it.

    Args:
      fbank: float32 [B, 1024, 128].
      tokens: int64 [B, T]; 0 for padding.
    """
    audio = self._audio(fbank)
    base = self.decoder.get_base_model()
    text = base.get_input_embeddings()(tokens)
    hidden = base.model(inputs_embeds=torch.cat([audio, text], 1))[0]
    logits = base.lm_head(hidden[:, AUDIO_TOKENS:-1]).float()
    return nn.functional.cross_entropy(
      logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=0
    )

  def _audio(self, fbank: torch.Tensor) -> torch.Tensor:
    """[B, 1024, 128] -> [B, A, D]."""
    cast = fbank.device.type if self.dtype != torch.float32 else None
    with torch.autocast(cast or "cpu", self.dtype, enabled=cast is not None):
      patches = self.encoder(fbank)[0][:, _PREFIX:]
      x = patches.float().unflatten(1, (_FREQUENCIES, AUDIO_TOKENS, 2))
      x = x.mean((1, 3)) / 50
      x = nn.functional.layer_norm(x, x.shape[-1:], eps=1e-5)
      return self.projection(x).to(self.dtype)

  def save(self, folder: pathlib.Path) -> None:
    """Writes encoder, decoder and adapters as their libraries do."""
    self.encoder.save_pretrained(folder / "encoder")
    # Without it, the importer takes the inputs to be normalised as AST's.
    transformers.ASTFeatureExtractor(
      mean=NORM_MEAN, std=NORM_STD / 2
    ).save_pretrained(folder / "encoder")
    self.decoder.save_pretrained(folder / "adapter")
    self.decoder.unload().save_pretrained(folder / "decoder")

  def projection_tensors(self) -> dict[str, np.ndarray]:
    """The projection by its published names."""
    name = "model.audio_proj.1"
    linear = self.projection
    return {
      f"{name}.weight": linear.weight.detach().cpu().numpy(),
      f"{name}.bias": linear.bias.detach().cpu().numpy(),
    }

  def trainable(self) -> list[nn.Parameter]:
    """Encoder, projection, adapters: what stages 2 to 4 train."""
    return [p for p in self.parameters() if p.requires_grad]
