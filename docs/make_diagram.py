"""Draws docs/data_flow.svg: from samples and text to the loss, with shapes.

python docs/make_diagram.py
"""

import html
import pathlib

COLORS = {
  "data": ("#eef2f7", "#5b6b7f"),
  "trained": ("#e3f1e6", "#3c7a4b"),
  "frozen": ("#f3ece1", "#8a6d3b"),
  "result": ("#f7e9ee", "#99496a"),
}
"""Kind of box -> fill and line."""

HEARD, READ, WIDE = 20, 420, 360

BOXES = (
  # x, y, width, kind, title, lines
  (HEARD, 20, WIDE, "data", "pcm", ["int16 [B, 164080], 16 kHz mono"]),
  (
    HEARD,
    110,
    WIDE,
    "data",
    "filter banks  (audio/fbank.py)",
    ["25 ms every 10 ms, 128 mels, on the device", "float32 [B, 1024, 128]"],
  ),
  (
    HEARD,
    220,
    WIDE,
    "trained",
    "encoder  (models/ast.py)",
    [
      "patches of 16 x 16: [B, 512, 256], 8 rows x 64 steps",
      "12 blocks: [B, 512, 768]",
    ],
  ),
  (
    HEARD,
    330,
    WIDE,
    "trained",
    "projector  (models/projector.py)",
    [
      "mean of 8 rows and of 2 steps: [B, 32, 768]",
      "norm, linear: [B, 32, 4096]",
    ],
  ),
  (
    READ,
    20,
    WIDE,
    "data",
    "tokens, positions, segment_ids",
    ["int32 [B, T]; T = 108"],
  ),
  (
    READ,
    330,
    WIDE,
    "frozen",
    "embedding  (models/llama.py)",
    ["32,000 x 4096, frozen", "[B, T, 4096]"],
  ),
  (
    HEARD,
    460,
    WIDE + READ - HEARD,
    "frozen",
    "32 decoder layers, frozen, with adapters on q and v that are trained"
    "  (models/lora.py)",
    [
      "[32 audio][T text]: [B, 32 + T, 4096]",
      "audio is causal; a question sees the audio and itself",
    ],
  ),
  (
    HEARD,
    570,
    WIDE,
    "frozen",
    "output matrix, in chunks  (cross_entropy.py)",
    ["hidden of the text [B, T, 4096]", "logits [B, 36, 32000] at a time"],
  ),
  (
    READ,
    570,
    WIDE,
    "result",
    "loss  (train_step.py)",
    ["sum over targets / number of targets of the step", "float32 []"],
  ),
)

ARROWS = (
  ((200, 82), (200, 110)),
  ((200, 192), (200, 220)),
  ((200, 302), (200, 330)),
  ((200, 412), (200, 460)),
  ((600, 82), (600, 330)),
  ((600, 412), (600, 460)),
  ((200, 542), (200, 570)),
  ((380, 611), (420, 611)),
)


def box(x, y, width, kind, title, lines) -> str:
  """One box with its text."""
  fill, line = COLORS[kind]
  height = 42 + 20 * len(lines)
  parts = [
    f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6"'
    f' fill="{fill}" stroke="{line}"/>',
    f'<text x="{x + 14}" y="{y + 24}" font-weight="600">'
    f"{html.escape(title)}</text>",
  ]
  for number, text in enumerate(lines):
    parts.append(
      f'<text x="{x + 14}" y="{y + 46 + 20 * number}" fill="#444">'
      f"{html.escape(text)}</text>"
    )
  return "\n".join(parts)


def arrow(start, end) -> str:
  """One arrow."""
  (x1, y1), (x2, y2) = start, end
  return (
    f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#555"'
    ' marker-end="url(#end)"/>'
  )


def legend() -> str:
  """What the colors mean."""
  names = {
    "data": "data",
    "trained": "trained (stages 2 to 4)",
    "frozen": "frozen",
    "result": "result",
  }
  parts, x = [], HEARD
  for kind, name in names.items():
    fill, line = COLORS[kind]
    parts.append(
      f'<rect x="{x}" y="672" width="14" height="14" fill="{fill}"'
      f' stroke="{line}"/><text x="{x + 22}" y="684">{name}</text>'
    )
    x += 60 + 7 * len(name)
  return "\n".join(parts)


def main() -> None:
  """Writes the file."""
  body = [box(*values) for values in BOXES]
  body += [arrow(*ends) for ends in ARROWS] + [legend()]
  svg = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 700"'
    ' font-family="sans-serif" font-size="14">\n<defs><marker id="end"'
    ' viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"'
    ' orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="#555"/></marker>'
    "</defs>\n"
    '<rect width="800" height="700" fill="white"/>\n'
    + "\n".join(body)
    + "\n</svg>\n"
  )
  pathlib.Path(__file__).with_name("data_flow.svg").write_text(svg)


if __name__ == "__main__":
  main()
