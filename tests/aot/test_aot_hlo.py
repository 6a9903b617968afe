import pytest

from ltu_jax.aot import hlo

# From a scan over five weights [16, 16], each cut over four CPU devices.
SCAN = """
%body (p: (s32[], f32[2,16], f32[5,4,16])) -> (s32[], f32[2,16], f32[5,4,16]) {
  %p = (s32[], f32[2,16]{1,0}, f32[5,4,16]{2,1,0}) parameter(0)
  %all-gather = f32[16,16]{1,0} all-gather(%slice), channel_id=1, \
replica_groups=mesh['axis_0'=4,'axis_1'=1] {'axis_0'}, dimensions={0}
  ROOT %tuple.6 = (s32[], f32[2,16]{1,0}) tuple(%wrapped_add, %wrapped_tanh)
}

%cond (p.1: (s32[], f32[2,16], f32[5,4,16])) -> pred[] {
  %c = s32[] constant(5)
  ROOT %lt = pred[] fusion(%g, %c), kind=kLoop, calls=%wrapped_compare
}

ENTRY %main (a: f32[5,4,16], b: f32[2,16]) -> f32[] {
  %while.8 = (s32[], f32[2,16]{1,0}) while(%tuple.4), condition=%cond, \
body=%bodyBODY
  ROOT %all-reduce = f32[] all-reduce(%sum), channel_id=2, \
replica_groups=[1,4]<=[4], to_apply=%add
}
"""
TOLD = ', backend_config={"known_trip_count":{"n":"5"}}'

# As a TPU's compiler writes it: a product and its gather, taken apart into
# permutes, two chunks a turn; and one gather that three fusions share.
WINDOWED = """
%part (a: bf16[4,8], /*index=1*/b: u32[]) -> bf16[64,8] {
  %g = bf16[64,8]{1,0:T(8,128)(2,1)S(1)} all-gather(%a), channel_id=7, \
replica_groups={{0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15}}, dimensions={0}
}

%body (p: (bf16[1,256], u32[])) -> (bf16[1,256], u32[]) {
  %two = u32[]{:T(128)} constant(2)
  %i = u32[]{:T(128)} get-tuple-element(%p), index=1
  %s = (bf16[1,256]{1,0}, bf16[1,256]{1,0}, u32[], u32[]) \
collective-permute-start(%x), channel_id=3, source_target_pairs={{0,1},{1,0}}
  %d = bf16[1,256]{1,0} collective-permute-done(%s)
  %f = bf16[64,8] fusion(%x), kind=kCustom, calls=%part
  %next = u32[]{:T(128)S(6)} add(%i, %two)
  ROOT %t = (bf16[1,256]{1,0}, u32[]{:T(128)}) tuple(%d, %next)
}

%cond (p.1: (bf16[1,256], u32[])) -> pred[] {
  %limit = u32[]{:T(128)} constant(8)
  %i.1 = u32[]{:T(128)} get-tuple-element(%p.1), index=1
  ROOT %lt = pred[]{:T(512)} compare(%i.1, %limit), direction=LT
}

ENTRY %main (a: bf16[1,256]) -> bf16[1,256] {
  %first = bf16[64,8] fusion(%a), kind=kCustom, calls=%part
  ROOT %w = (bf16[1,256]{1,0}, u32[]) while(%t), condition=%cond, body=%body
}
"""


def kinds(text):
  return {c.kind: c for c in hlo.collectives(text)}


def test_a_loop_of_a_told_length():
  found = kinds(SCAN.replace("BODY", TOLD))
  gather, reduce = found["all-gather"], found["all-reduce"]
  assert (gather.count, gather.group, gather.known) == (5, 4, True)
  assert gather.result_bytes == 16 * 16 * 4
  # Five times, a chip sends its quarter to each of three others.
  assert gather.sent_bytes == 5 * 3 * (16 * 16 * 4 / 4)
  assert (reduce.count, reduce.group) == (1, 4)
  assert reduce.sent_bytes == 2 * 3 / 4 * 4


def test_a_loop_of_unknown_length_is_said_to_be():
  gather = kinds(SCAN.replace("BODY", ""))["all-gather"]
  assert (gather.count, gather.known) == (1, False)


def test_a_loop_of_two_steps_a_turn():
  permute = kinds(WINDOWED)["collective-permute"]
  assert (permute.count, permute.known) == (4, True)
  assert permute.sent_bytes == 4 * 256 * 2


def test_one_gather_in_several_fusions_counts_once():
  gather = kinds(WINDOWED)["all-gather"]
  assert (gather.count, gather.group) == (1, 16)
  assert gather.result_bytes == 64 * 8 * 2


@pytest.mark.parametrize(
  "text, sizes",
  [
    ("bf16[2,3]{1,0:T(8,128)(2,1)}", [12]),
    ("(f32[4], u8[], pred[2])", [16, 1, 2]),
    ("s4[6]", [3]),
    ("f8e4m3fn[5]", [5]),
    ("token[]", []),
  ],
)
def test_sizes(text, sizes):
  assert hlo.shape_bytes(text) == sizes
