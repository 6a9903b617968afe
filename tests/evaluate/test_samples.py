"""Clips to read: different clips and tasks, chosen whatever the answers."""

import made_up_scenes

from ltu_jax.evaluate import samples


def echo(questions, with_audio):
  assert with_audio
  return [f"heard {q.clip_id}" for q in questions]


def test_different_clips_and_tasks():
  source = made_up_scenes.source(made_up_scenes.scenes())
  asked = samples.ask(echo, source, 4)
  assert [s.task for s in asked] == [
    "cla_label",
    "caption",
    "temporal_order",
    "open-ended question",
  ]
  assert len({s.clip for s in asked}) == 4
  for sample in asked:
    assert sample.answer == f"heard {sample.clip}"
  by_clip = {c["id"].decode(): c["questions"] for c in source.clips}
  for sample in asked:
    questions = by_clip[sample.clip]
    place = questions["output"].index(sample.truth.encode())
    assert sample.truth.encode() in questions["output"]
    assert sample.question.encode() in questions["instruction"]
    assert questions["task"][place] == sample.task.encode()


def test_more_than_there_are_clips():
  source = made_up_scenes.source(made_up_scenes.scenes()[:3])
  asked = samples.ask(echo, source, 5)
  assert sorted(s.clip for s in asked) == ["scene-0", "scene-1", "scene-2"]
