"""What a chip can compute at best, by the name that JAX gives its devices.

TPUs: Google Cloud's pages, docs.cloud.google.com/tpu/docs/v5e and so on. GPUs:
NVIDIA's data sheets of A100, H100 and H200, whose numbers "with sparsity" are
twice the dense ones that stand here.
"""

PEAK_FLOPS = {
  "v4": 275e12,
  "v5e": 197e12,
  "v5p": 459e12,
  "v6e": 918e12,
  "tpu7x": 2307e12,
  "a100": 312e12,
  "h100-pcie": 1513e12 / 2,
  "h100-nvl": 1671e12 / 2,
  "h100": 1979e12 / 2,
  "h200-nvl": 1671e12 / 2,
  "h200": 1979e12 / 2,
}
"""Chip -> dense bf16 FLOP/s."""

DEVICES = {"tpu7x": 2}
"""Chip -> JAX devices of one, where they are not one."""

_KINDS = {
  # As libtpu names them; v5e, v5p and v6e also have these names in JAX.
  "TPU v4": "v4",
  "TPU v5 lite": "v5e",
  "TPU v5e": "v5e",
  "TPU v5": "v5p",
  "TPU v5p": "v5p",
  "TPU v6 lite": "v6e",
  "TPU v6e": "v6e",
  "TPU7x": "tpu7x",
  # As NVIDIA's driver names them. A part of one (MIG) has a longer name.
  "NVIDIA A100-SXM4-40GB": "a100",
  "NVIDIA A100-SXM4-80GB": "a100",
  "NVIDIA A100-PCIE-40GB": "a100",
  "NVIDIA A100 80GB PCIe": "a100",
  "NVIDIA H100 PCIe": "h100-pcie",
  "NVIDIA H100 NVL": "h100-nvl",
  "NVIDIA H100 80GB HBM3": "h100",
  "NVIDIA H200 NVL": "h200-nvl",
  "NVIDIA H200": "h200",
}
"""`jax.Device.device_kind` -> chip."""


def devices_per_chip(kind: str) -> int:
  """How many JAX devices a chip is; 1 where the kind is not known."""
  return DEVICES.get(_KINDS.get(kind, ""), 1)


def peak_flops(kind: str) -> float | None:
  """Dense bf16 FLOP/s of one JAX device.

  Args:
    kind: `jax.Device.device_kind`.

  Returns:
    None for a CPU, or another device that is not known: no number is better
    than a wrong one.
  """
  if kind not in _KINDS:
    return None
  return PEAK_FLOPS[_KINDS[kind]] / devices_per_chip(kind)
