"""The forms in which a clip's meta information is written."""

from ltu_jax.aqa import records
from ltu_jax.aqa.records import ClipRecord, Event, SoundFacts, Span


def test_meta_line_is_the_published_form():
  clip = ClipRecord(
    "clip",
    "as_strong_train",
    (
      Event("Church bell", "Semi-musical and reverberant", (Span(0.0, 10.0),)),
      Event("Tap", "Dull", (Span(1.4, 1.4), Span(9.5, 9.6))),
    ),
    ("A church bell rings.",),
  )
  # The example of the published recipe, with a second event.
  assert clip.meta_line() == (
    "Sound Events: Sound of Church bell (Semi-musical and reverberant):"
    " [0.0s-10.0s]; Sound of Tap (Dull): [1.4s-1.4s, 9.5s-9.6s];"
    " Description: A church bell rings."
  )


def test_meta_line_leaves_out_what_is_not_known():
  clip = ClipRecord("clip", "vggsound_train", (Event("Owl hooting"),))
  assert clip.meta_line() == "Sound Events: Sound of Owl hooting"


def test_event_with_several_spans():
  event = Event("Tap", spans=(Span(1.0, 1.5), Span(4.0, 6.0)))
  assert (event.onset, event.offset, event.seconds) == (1.0, 6.0, 2.5)


def test_caption_tells_order_and_overlap():
  fire = SoundFacts("Fire", "", "a fire crackles", "", "", "nature")
  events = [
    Event("Fire", spans=(Span(1.0, 4.0),)),
    Event("Mine shaft", spans=(Span(3.0, 5.0),)),
    Event("Fire", spans=(Span(5.0, 6.0),)),
  ]
  assert records.describe(events, {"Fire": fire}) == (
    "A fire crackles, while mine shaft is heard, then a fire crackles."
  )


def test_facts_are_read_by_label(tmp_path):
  table = tmp_path / "classes.tsv"
  table.write_text(
    "label\tfeature\tphrase\tcue\tcause\torigin\n"
    "Fire\tDry\ta fire burns\tcrackle\tit burns\tnature\n"
  )
  facts = records.read_facts(table)
  assert facts == {
    "Fire": SoundFacts(
      "Fire", "Dry", "a fire burns", "crackle", "it burns", "nature"
    )
  }
