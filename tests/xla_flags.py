"""XLA's flags where what is compiled runs for a moment only."""


def quick(devices: int = 1) -> str:
  """Compiles a CPU's programs fast, for so many fake devices.

  Without LLVM's optimisations tests take two thirds of the time, without MLIR's
  emitters of fusions half of that (tests/answers/test_engine.py: 36 s of CPU
  with them, 17 without, numbers as near to the oracles).
  """
  flags = (
    f"--xla_force_host_platform_device_count={devices}",
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
  )
  return " ".join(flags)
