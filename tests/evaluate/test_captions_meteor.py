"""METEOR against pycocoevalcap, and the form of SPICE's result, in Java."""

import numpy as np
import pytest
from pycocoevalcap.meteor.meteor import Meteor

from ltu_jax.evaluate.captions import java, meteor, spice
from ltu_jax.evaluate.captions.score import score
from made_up_captions import EDGES, corpus

# Java loads its paraphrases for five seconds each time.
pytestmark = pytest.mark.slow

# Java prints all digits of its float64; the formula is the same.
_CLOSE = {"rtol": 1e-9, "atol": 1e-12}

_CASES = [corpus(1, 60, 3), corpus(2, 30, 1, least=1), *EDGES.values()]
_ANSWERS = [answer for answers, _ in _CASES for answer in answers]
_REFERENCES = [clip for _, references in _CASES for clip in references]

_GRAPHS = """
import edu.anu.spice.*;
import edu.cmu.meteor.aligner.SynonymDictionary;
import edu.cmu.meteor.util.Constants;
import java.net.URL;
import java.util.*;

public class Graphs {
  static SynonymDictionary words;

  static SceneGraph graph(String tuples) {
    SceneGraph graph = new SceneGraph(words, true);
    for (String tuple : tuples.split(";"))
      graph.addTuple(new ArrayList<>(Arrays.asList(tuple.split(","))));
    return graph;
  }

  public static void main(String[] none) throws Exception {
    String at = Constants.DEFAULT_SYN_DIR_URL + "/english.";
    words = new SynonymDictionary(new URL(at + "exceptions"),
        new URL(at + "synsets"), new URL(at + "relations"));
    SpiceStats stats = new SpiceStats(new HashMap<>(), false);
    stats.score(0L, graph("dog;dog,loud"), graph("dog;dog,loud;cat"), true);
    stats.score(2L, graph("dog"), graph("cat"), true);
    stats.score(3L, graph("dog"), graph("dog"), true);
    System.out.println(stats.toJSONString());
  }
}
"""


@pytest.fixture(scope="module")
def stats():
  # A locale that is not UTF-8 makes no difference.
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv("LC_ALL", "C")
    patch.setenv("LANG", "C")
    return meteor.statistics(_ANSWERS, _REFERENCES)


def _theirs(chosen):
  return Meteor().compute_score(
    {i: _REFERENCES[row] for i, row in enumerate(chosen)},
    {i: [_ANSWERS[row]] for i, row in enumerate(chosen)},
  )


def test_meteor(stats):
  corpus_score, items = _theirs(range(len(_ANSWERS)))
  np.testing.assert_allclose(meteor.item_meteor(stats), items, **_CLOSE)
  np.testing.assert_allclose(
    meteor.corpus_meteor(stats), corpus_score, **_CLOSE
  )


def test_meteor_of_items_taken_several_times(stats):
  chosen = np.random.default_rng(0).integers(len(stats), size=len(stats))
  counts = np.bincount(chosen, minlength=len(stats))
  corpus_score, _ = _theirs(chosen)
  both = meteor.corpus_meteor(stats, np.stack([counts, np.ones_like(counts)]))
  np.testing.assert_allclose(
    both, [corpus_score, meteor.corpus_meteor(stats)], **_CLOSE
  )


def test_accents_and_the_sign_between_captions():
  stats = meteor.statistics(
    ["caf\u00e9", "caf\u00e9", "a ||| dog\nbarks"],
    [["caf\u00e9"], ["caf\u00e8"], ["a dog barks", "x"]],
  )
  # Were the bytes not taken for UTF-8, all words with an accent might agree.
  assert meteor.item_meteor(stats) == pytest.approx([1, 0, 1])


def test_in_the_result():
  answers = [["x: a dog barks", "x: a cat"], ["x: rain falls on a roof"] * 2]
  scores = score(answers, [["A dog barks."], ["Rain falls on a roof."]])
  found = {metric.name: metric for metric in scores.metrics}
  assert scores.trials["METEOR"][0] == pytest.approx(1)
  assert scores.trials["METEOR"][1] < 1
  assert found["METEOR"].deviation > 0
  assert scores.items["METEOR"][1] == pytest.approx(1)
  assert scores.resample["METEOR"](np.array([0, 1])) == pytest.approx(1)
  assert found["SPICE"].value is None
  assert found["SPICE"].headline
  assert "stanford-corenlp-3.6.0-models.jar" in found["SPICE"].note


def test_form_of_spice_s_result(tmp_path):
  """Of graphs made here: what makes them from captions is not to be had."""
  source = tmp_path / "Graphs.java"
  source.write_text(_GRAPHS)
  folder = java.package("spice")
  places = [folder / "spice-1.0.jar", folder / "lib" / "*"]
  # An earlier CoreNLP has the class of graphs, too.
  places += java.package("tokenizer").glob("stanford-corenlp-3.4.1.jar")
  result = tmp_path / "out"
  result.write_text(
    java.run(["-cp", ":".join(map(str, places)), str(source)], limit_s=120)
  )
  # 2 of 2 tuples are right, 2 of 3 are found: F is 0.8.
  assert spice.read(result, 3) == pytest.approx({0: 0.8, 2: 0.0, 3: 1.0})
