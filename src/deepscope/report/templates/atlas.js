"use strict";
(() => {
  const finder = document.querySelector(".find");
  if (!finder) return;
  // "Polya" finds "Pólya".
  const plain = (text) => text.normalize("NFKD").replace(/\p{M}+/gu, "").toLowerCase();
  const items = [...document.querySelectorAll("[data-find]")];
  const homes = items.map((item) => item.closest("section"));
  const sections = [...new Set(homes)];
  const squares = [...document.querySelectorAll(".squares .square")];
  const status = finder.querySelector("[role=status]");
  const clear = finder.querySelector("button");
  const texts = items.map((item, place) => {
    const heading = homes[place].querySelector("h2,h3").textContent;
    return plain([item.textContent, ...Object.values(item.dataset), heading].join(" "));
  });
  const marks = (place, name) => (items[place].dataset[name] ?? homes[place].dataset[name] ?? "").split("\n");
  const chosen = () => [...new FormData(finder)].filter(([, value]) => value.trim());

  const show = () => {
    const asked = chosen();
    const words = asked.filter(([name]) => name === "q").flatMap(([, value]) => plain(value).split(/\s+/)).filter(Boolean);
    const kept = asked.filter(([name]) => name !== "q");
    const alive = new Set();
    let hits = 0;
    items.forEach((item, place) => {
      const fits = words.every((word) => texts[place].includes(word))
        && kept.every(([name, value]) => marks(place, name).includes(value));
      if (item.hidden === fits) item.hidden = !fits;
      squares[place]?.classList.toggle("aside", !fits);
      if (!fits) return;
      hits += 1;
      alive.add(homes[place]);
    });
    for (const section of sections) section.hidden = !alive.has(section);
    const count = (number) => number.toLocaleString("en");
    const all = `${count(items.length)} ${items.length === 1 ? finder.dataset.one : finder.dataset.many}`;
    status.textContent = hits === items.length ? all : `${hits ? count(hits) : "None"} of ${all}`;
    clear.hidden = !asked.length;
  };

  // The address names what is shown, so that it can be sent to somebody.
  let later = 0;
  const write = () => {
    clearTimeout(later);
    const view = String(new URLSearchParams(chosen()));
    history.replaceState(null, "", location.href.split("#")[0] + (view && `#${view}`));
  };
  const choose = (name, value) => {
    const field = finder.elements.namedItem(name);
    if (!field) return;
    field.value = value;
    if (field.selectedIndex === -1) field.value = "";
  };
  const reset = () => { finder.reset(); show(); };
  const read = () => {
    const hash = location.hash.slice(1);
    const target = hash && document.getElementById(hash);
    if (target) {
      if (!target.closest("[hidden]")) return;
      clearTimeout(later);
      reset();
      target.scrollIntoView();
      return;
    }
    finder.reset();
    for (const [name, value] of new URLSearchParams(hash)) choose(name, value);
    show();
  };

  finder.addEventListener("input", () => {
    show();
    // Browsers refuse an address that changes too often.
    clearTimeout(later);
    later = setTimeout(write, 300);
  });
  finder.addEventListener("change", write);
  finder.addEventListener("submit", (event) => event.preventDefault());
  clear.addEventListener("click", () => {
    reset();
    write();
    finder.elements.namedItem("q").focus();
  });
  window.addEventListener("hashchange", read);
  finder.hidden = false;
  show();
  read();

  // The squares are one stop of the tabulator key; the arrow keys go along them, up and down by what is seen.
  const overview = document.querySelector(".overview");
  if (!overview) return;
  const told = overview.querySelector(".told");
  let current = 0;
  squares[current].tabIndex = 0;
  overview.querySelector(".hint").hidden = false;
  const tell = (place) => {
    told.hidden = false;
    told.replaceChildren(...[...items[place].children].map((part) => part.cloneNode(true)));
  };
  const across = (down) => {
    const from = squares[current].getBoundingClientRect();
    let best = current, least = Infinity;
    squares.forEach((square, place) => {
      const to = square.getBoundingClientRect();
      const steps = (to.top - from.top) * down;
      if (steps < from.height / 2) return;
      const far = steps * 1000 + Math.abs(to.left - from.left);
      if (far < least) [best, least] = [place, far];
    });
    return best;
  };
  const KEYS = {
    ArrowRight: () => Math.min(current + 1, squares.length - 1),
    ArrowLeft: () => Math.max(current - 1, 0),
    ArrowDown: () => across(1),
    ArrowUp: () => across(-1),
    Home: () => 0,
    End: () => squares.length - 1,
  };
  const box = overview.querySelector(".squares");
  box.addEventListener("keydown", (event) => {
    if (!squares.includes(event.target) || !KEYS[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    squares[KEYS[event.key]()].focus();
  });
  box.addEventListener("focusin", (event) => {
    const place = squares.indexOf(event.target);
    if (place < 0) return;
    squares[current].tabIndex = -1;
    current = place;
    squares[current].tabIndex = 0;
    tell(place);
  });
  box.addEventListener("pointerover", (event) => {
    const place = squares.indexOf(event.target);
    if (place >= 0) tell(place);
  });
})();
