import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltu_jax.aot import work

# As a TPU's compiler writes them, cut to what is read: two chunks of a weight
# side by side, [64, 8] each, so that each output meets one of two taps.
TPU = """
%fused_computation.1 (a: bf16[2,4,64,1], b: bf16[64,2,8,1]) -> bf16[2,4,2,8] {
  %a.1 = bf16[2,4,64,1]{2,1,0,3:T(8,128)(2,1)} parameter(0)
  %b.1 = bf16[64,2,8,1]{2,1,0,3:T(8,128)(2,1)} parameter(1)
  ROOT %c = bf16[2,4,2,8]{3,1,2,0} convolution(%a.1, %b.1), \
window={size=1x2 pad=0_0x1_1 rhs_reversal=0x1}, \
dim_labels=0bf1_i1o0->0b1f, \
metadata={op_name="jit(step)/transpose(jvp(encoder))/while/dot_general"}, \
backend_config={"window_config":{"estimated_cycles":"5"}}
}

ENTRY %main (x: bf16[2,4,64,1], w: bf16[64,2,8,1]) -> bf16[2,4,2,8] {
  %x = bf16[2,4,64,1]{3,2,1,0} parameter(0)
  %w = bf16[64,2,8,1]{3,2,1,0} parameter(1)
  %d = f32[8,3]{1,0} copy(%x), metadata={op_name="jit(step)/transpose(jvp(\
decoder))/checkpoint/rematted_computation/attention/mul"}, \
backend_config={"window_config":{"estimated_cycles":"70"}}
  ROOT %f = bf16[2,4,2,8]{3,2,1,0} fusion(%x, %w), kind=kOutput, \
calls=%fused_computation.1, metadata={op_name="jit(step)/jvp(loss)/add"}, \
backend_config={"window_config":{"estimated_cycles":"30"}}
}
"""


def layers(w, x):
  """Five times two products of 2 * 4 * 8 * 8 FLOPs."""
  body = lambda x, w: (jnp.tanh(x @ w) @ w, None)
  with jax.named_scope("decoder"):
    return jnp.sum(jax.lax.scan(jax.checkpoint(body), x, w)[0])


ONCE = 5 * 2 * (2 * 4 * 8 * 8)


@pytest.mark.parametrize(
  "call, want",
  [
    (layers, {"forward": ONCE}),
    # The frozen weights get no gradient, which would be one product more; the
    # second product of a layer is not made again, as only its input is needed.
    (
      jax.grad(layers, argnums=1),
      {"forward": ONCE, "recomputed": ONCE / 2, "backward": ONCE},
    ),
  ],
)
def test_products_in_a_loop_count_as_often_as_it_turns(call, want):
  shapes = np.zeros((5, 8, 8), np.float32), np.zeros((4, 8), np.float32)
  found = work.work(jax.jit(call).lower(*shapes).compile().as_text())
  assert found == [
    work.Work(kind, "decoder", want[kind]) for kind in sorted(want)
  ]


@pytest.mark.parametrize(
  "size, stride, before, after, spread, step",
  [
    (12, 11, 0, 0, 12, 1),  # a batch as an axis: the rest is holes
    (2, 1, 1, 1, 1, 1),  # ends cut off
    (3, 2, 2, 0, 3, 2),  # all at once
  ],
)
def test_padding_and_holes_are_no_multiplications(
  size, stride, before, after, spread, step
):
  """The sum of a convolution of ones counts them: XLA's own."""
  ones = lambda n: jnp.ones((1, 1, n))
  made = jax.lax.conv_general_dilated(
    *(ones(12), ones(size), (stride,), [(before, after)], (spread,), (step,))
  )
  line = (
    f"window={{size={size} stride={stride} pad={before}_{after} "
    f"lhs_dilate={spread} rhs_dilate={step} rhs_reversal=1}}"
  )
  window = work.windows(line)[0]
  assert work.pairs(12, made.shape[2], *window) == made.sum()


def test_cycles_and_products_have_a_pass_and_a_scope():
  assert work.work(TPU) == [
    work.Work("backward", "encoder", 2 * 2 * 4 * 64 * 2 * 8, 0),
    work.Work("forward", "loss", 0, 30),
    work.Work("recomputed", "attention", 0, 70),
  ]
