"""What the page says about the model."""

import os
import pathlib

from ltu_jax.workdir import Workdir

_NO_CARD = "Nothing is known about this model: its folder has no README.md."

EXAMPLES = (
  "What can be heard?",
  "Describe the audio in one sentence.",
  "Tell the order of the sound events.",
  "What could be happening here?",
)
"""Questions of the page; of the kinds that OpenAQA has."""


def model_card(
  *,
  workdir: str | os.PathLike | None = None,
  bundle: str | os.PathLike | None = None,
) -> str:
  """Returns Markdown: a bundle's card, or the facts of a run.

  Args:
    workdir: Folder of a run, of this machine or in a bucket.
    bundle: Folder of a bundle; one of the two.

  Raises:
    CheckpointError: `workdir` is no run's folder.
  """
  if bundle is not None:
    file = pathlib.Path(bundle, "README.md")
    return file.read_text("utf-8") if file.is_file() else _NO_CARD
  run = Workdir.at(workdir)
  config = run.read_config()
  stages = [f"{s.number} {s.name}" for s in run.trained_stages(config)]
  name = pathlib.Path(os.path.abspath(workdir)).name
  return "\n\n".join(
    [
      "### LTU: an audio language model",
      "It hears the first 10.24 s of a clip and answers questions about it in"
      " text. The architecture is LTU's (Listen, Think, and Understand,"
      " [arXiv 2305.10790](https://arxiv.org/abs/2305.10790)).",
      f"- Run: `{name}`\n- Data: {config['data']['name']}\n- Stages trained:"
      f" {', '.join(stages) or 'none'}",
    ]
  )
