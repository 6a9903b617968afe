"use strict";
(() => {
  const form = document.getElementById("filter");
  const said = document.getElementById("shown");
  const clips = [...document.querySelectorAll(".clip")].map((clip) => ({
    clip,
    questions: [...clip.querySelectorAll(".question")].map((question) => ({
      question,
      flags: question.dataset.flags.split(" ").filter(Boolean),
      text: question.textContent.toLowerCase(),
    })),
  }));

  // "" is all, "*" any flag, "-" none; all other values come as they are.
  const fits = ({ question, flags, text }, wanted) =>
    (!wanted.task || question.dataset.task === wanted.task) &&
    (!wanted.source || question.dataset.source === wanted.source) &&
    (!wanted.flag ||
      (wanted.flag === "*" && flags.length > 0) ||
      (wanted.flag === "-" && flags.length === 0) ||
      flags.includes(wanted.flag)) &&
    text.includes(wanted.text.toLowerCase());

  const apply = () => {
    const wanted = Object.fromEntries(new FormData(form));
    let shown = 0, heard = 0;
    for (const { clip, questions } of clips) {
      let some = 0;
      for (const one of questions) {
        one.question.hidden = !fits(one, wanted);
        some += !one.question.hidden;
      }
      clip.hidden = some === 0;
      shown += some;
      heard += some > 0;
    }
    said.textContent = `questions shown: ${shown}, clips: ${heard}`;
  };

  form.hidden = false;
  // Programs that choose for their users send one of the two alone.
  form.addEventListener("input", apply);
  form.addEventListener("change", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
})();
