"use strict";
(() => {
  const by = (id) => document.getElementById(id);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const cases = all(".case");
  const find = by("find");
  const told = by("count").textContent;
  document.documentElement.classList.add("js");
  const { renew, until } = document.body.dataset;
  // What writes a growing page may have been killed: an old one stays as it is.
  if (renew && Date.now() < 1000 * until) setTimeout(() => location.reload(), 1000 * renew);
  else if (renew) by("stopped").hidden = false;

  const sift = () => {
    const first = document.querySelector("input[name=show]:checked")?.value ?? "";
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const one of cases) {
      const fits = (!first || one.dataset.first === first) && words.every((word) => one.dataset.text.includes(word));
      one.hidden = !fits;
      shown += fits;
    }
    by("none").hidden = shown > 0 || cases.length === 0;
    by("count").textContent = first || words.length ? `${shown} of the ${cases.length} queries on this page` : told;
  };
  const seek = (text) => {
    all("input[name=show][value='']").forEach((one) => (one.checked = true));
    find.value = text;
    sift();
    by("queries").scrollIntoView();
  };
  const sort = () => {
    const order = document.querySelector("input[name=order]:checked").value;
    const counted = cases.filter((one) => one.dataset.first !== "open");
    const open = cases.filter((one) => one.dataset.first === "open");
    if (order === "best") counted.reverse();
    if (order === "near") counted.sort((one, other) => other.dataset.top - one.dataset.top);
    if (order === "far") counted.sort((one, other) => one.dataset.top - other.dataset.top);
    document.querySelector(".cases").append(...counted, ...open);
  };
  find.addEventListener("input", sift);
  all("input[name=order]").forEach((one) => one.addEventListener("change", sort));
  all("input[name=show]").forEach((one) => one.addEventListener("change", sift));
  all(".pick").forEach((one) => one.addEventListener("click", () => seek(one.dataset.find)));
  by("clear").addEventListener("click", () => seek(""));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== find && !by("compare").open) {
      event.preventDefault();
      find.focus();
    }
  });

  const dialog = by("compare");
  const label = (button) => button.dataset.label || (button.dataset.mark === "" ? "" : "no label");
  let answers = [];
  let place = 0;
  const picture = (target, button) => {
    const from = button.querySelector(".photo");
    target.className = from.className;
    target.replaceChildren(...[...from.childNodes].map((node) => node.cloneNode(true)));
  };
  const link = (target, button) => {
    target.hidden = !button.dataset.link;
    target.href = button.dataset.link ?? "#";
  };
  const show = (to) => {
    place = (to + answers.length) % answers.length;
    const one = answers[place];
    picture(by("right"), one);
    const rank = one.dataset.rank;
    const score = one.dataset.score === "–" ? "" : `, score ${one.dataset.score}`;
    by("right-mark").className = one.dataset.mark;
    const mark = one.parentNode.classList.contains("missed") ? "missed" : one.dataset.mark;
    by("right-mark").textContent = (mark || "answer") + score;
    by("right-label").textContent = label(one);
    link(by("right-link"), one);
    by("right-id").textContent = one.dataset.id;
    by("place").textContent = /^\d+$/.test(rank) ? `rank ${rank}` : rank;
  };
  const open = (button) => {
    const home = button.closest(".case");
    const asked = home.querySelector(".asked");
    answers = all(".hit button", home);
    if (!answers.length) return;
    picture(by("left"), asked);
    by("left-label").textContent = label(asked);
    link(by("left-link"), asked);
    by("left-id").textContent = asked.dataset.id;
    show(Math.max(answers.indexOf(button), 0));
    dialog.showModal();
  };
  all(".hit button, .asked").forEach((one) => one.addEventListener("click", () => open(one)));
  by("back").addEventListener("click", () => show(place - 1));
  by("on").addEventListener("click", () => show(place + 1));
  by("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(place - 1);
    if (event.key === "ArrowRight") show(place + 1);
  });
})();
