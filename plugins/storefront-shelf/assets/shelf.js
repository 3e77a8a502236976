// Niceties for pages that all work without them: completions while typing, copy buttons, one player at a time, and
// looking again at a payment that is under way.
"use strict";

for (const input of document.querySelectorAll("input[data-suggest]")) {
  let timer = 0;
  let asked = input.value;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const text = input.value.trim();
      if (text.length < 2 || text === asked) return;
      asked = text;
      try {
        const answer = await fetch(input.dataset.suggest + "?q=" + encodeURIComponent(text));
        const [, words] = await answer.json();
        if (asked !== text) return;
        input.list.replaceChildren(...words.map((word) => {
          const option = document.createElement("option");
          option.value = word;
          return option;
        }));
      } catch {
        // Typing on is all that is needed.
      }
    }, 150);
  });
}

for (const area of document.querySelectorAll("textarea[data-copy]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain small";
  button.textContent = area.dataset.copy;
  const said = document.createElement("span");
  said.className = "said";
  said.setAttribute("role", "status");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(area.value);
    } catch {
      area.focus();
      area.select();
      if (!document.execCommand("copy")) return;
    }
    said.textContent = area.dataset.copied;
  });
  area.after(button, said);
}

const players = document.querySelectorAll("audio, video");
for (const player of players) {
  player.addEventListener("play", () => {
    for (const other of players) if (other !== player) other.pause();
  });
}

const waiting = document.querySelector("[data-look-again]");
if (waiting) {
  const look = async () => {
    try {
      const answer = await fetch(waiting.dataset.path, { cache: "no-store" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const state = page.querySelector("[data-state]:not([data-look-again])");
      if (state && state.dataset.state !== waiting.dataset.state) {
        location.assign(waiting.dataset.path);
        return;
      }
    } catch {
      // The network may be gone for a moment; the next look tells.
    }
    setTimeout(look, waiting.dataset.lookAgain * 1000);
  };
  setTimeout(look, waiting.dataset.lookAgain * 1000);
}

// On narrow screens the filters begin closed, so that what was found comes first.
const filters = document.querySelector(".filters details");
if (filters && matchMedia("(max-width: 48rem)").matches) filters.open = false;
