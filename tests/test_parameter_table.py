"""The table that a stage prints at its start."""

from ltu_jax import parameter_table


def test_the_table_is_aligned_and_has_totals():
  row = parameter_table.ParameterRow
  table = parameter_table.render(
    [
      row("encoder", True, 85_721_088, 342_884_352, "float32", "fsdp"),
      row("llama", False, 6_738_415_616, 13_476_831_232, "bfloat16", "tensor"),
      row("projector", True, 12, 48, "float32", "replicated"),
    ]
  )
  assert table.splitlines() == [
    "module                   parameters     bytes  dtype     sharding",
    "encoder    trainable     85,721,088  342.9 MB  float32   fsdp",
    "llama      frozen     6,738,415,616   13.5 GB  bfloat16  tensor",
    "projector  trainable             12      48 B  float32   replicated",
    "total      trainable     85,721,100  342.9 MB",
    "total      frozen     6,738,415,616   13.5 GB",
  ]
