"use strict";
(() => {
  const SLICE = 200;
  const make = (tag, text, attributes = {}) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  };
  const read = (id) => {
    const node = document.getElementById(id);
    return node && JSON.parse(node.textContent);
  };

  // A cell begins with its number, written for people: "1,234", "−0.12", "2.84 ± 0.12", "4.2 MB", "1.2e−7".
  const PREFIX = { k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 };
  const value = (text) => {
    const found = /^([-\u2212]?[\d,]*\.?\d+(?:e[-\u2212]?\d+)?)(?: ([kMGTPE])(?:B?)$)?/.exec(text);
    if (!found) return NaN;
    return Number(found[1].replaceAll(",", "").replaceAll("\u2212", "-")) * (PREFIX[found[2]] || 1);
  };
  const words = new Intl.Collator("en", { numeric: true });

  const sortable = (holder) => {
    const table = holder.querySelector("table");
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const numeric = heads.map((head) => head.classList.contains("n"));
    const data = read(`${holder.dataset.table}-data`);
    const columns = data
      ? data.columns.map((column) => column.split("\n"))
      : heads.map((_, place) => [...body.rows].map((row) => row.cells[place].textContent));
    const size = columns[0].length;
    const telling = data ? data.telling : [...Array(size).keys()];
    const long = data ? heads.map((_, place) => body.rows[0].cells[place].classList.contains("long")) : [];
    const kept = data ? null : [...body.rows];
    let order = null, needle = "", limit = SLICE;

    const rowOf = (index) => {
      if (kept) return kept[index];
      const row = document.createElement("tr");
      columns.forEach((column, place) => {
        const cell = make(place ? "td" : "th", column[index]);
        if (!place) cell.scope = "row";
        else if (numeric[place]) cell.className = "n";
        else if (long[place]) cell.className = "long";
        row.append(cell);
      });
      return row;
    };
    const shown = table.caption.querySelector(".shown");
    const more = make("button", "", { type: "button" });
    const show = () => {
      let rows = order || (needle || limit > SLICE ? [...Array(size).keys()] : telling);
      if (needle) rows = rows.filter((index) => columns[0][index].toLowerCase().includes(needle));
      const cut = rows.slice(0, limit);
      body.replaceChildren(...cut.map(rowOf));
      if (shown) {
        const plain = !order && !needle && limit === SLICE;
        shown.textContent = plain
          ? `${telling.length.toLocaleString("en")} of ${size.toLocaleString("en")} rows, those that stand out most`
          : `${cut.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} rows`;
      }
      label(order || needle ? rows.length : size, cut.length);
    };
    const label = (all, seen) => {
      more.hidden = limit >= all;
      more.textContent = `Show ${Math.min(500, all - seen).toLocaleString("en")} more rows`;
    };
    more.addEventListener("click", () => { limit += 500; show(); });

    heads.forEach((head, place) => {
      const button = make("button", head.textContent, { type: "button" });
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        // Large numbers are looked for first, names from A.
        const first = numeric[place] ? "descending" : "ascending";
        const second = numeric[place] ? "ascending" : "descending";
        const now = before === first ? second : before === second ? null : first;
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        limit = SLICE;
        order = null;
        if (now) {
          head.setAttribute("aria-sort", now);
          const sign = now === "ascending" ? 1 : -1;
          const keys = numeric[place] ? columns[place].map(value) : columns[place];
          const empty = (key) => key === "\u2013" || Number.isNaN(key);
          order = [...Array(size).keys()].sort((a, b) => {
            const x = keys[a], y = keys[b];
            if (empty(x) || empty(y)) return empty(x) - empty(y) || a - b;
            return sign * (numeric[place] ? x - y : words.compare(x, y)) || a - b;
          });
        }
        show();
      });
    });
    if (size > 20) {
      const tools = make("div", undefined, { class: "tools" });
      const named = make("label", "Filter by name");
      const input = make("input", undefined, { type: "search", autocomplete: "off", spellcheck: "false" });
      named.append(input);
      tools.append(named);
      holder.prepend(tools);
      input.addEventListener("input", () => { needle = input.value.trim().toLowerCase(); limit = SLICE; show(); });
    }
    // The rows that tell the most stand in the page already.
    if (data) { holder.append(more); label(size, telling.length); }
  };
  document.querySelectorAll("[data-table]").forEach(sortable);

  const glance = () => {
    const data = read("glance-data");
    if (!data) return;
    const figure = document.querySelector(".glance");
    const columns = figure.querySelector(".columns");
    const cursor = figure.querySelector(".cursor");
    const range = figure.querySelector("#layer");
    const readout = figure.querySelector(".readout");
    figure.querySelector(".walk").hidden = readout.hidden = false;
    const count = data.layers.length;

    const tell = (place) => {
      range.value = place;
      cursor.hidden = false;
      columns.style.setProperty("--at", `${((place + 0.5) / count) * 100}%`);
      const known = data.rows.filter(([, texts]) => texts[place]);
      const found = data.findings[place] || [];
      const name = make("p", data.layers[place], { class: "name", dir: "auto" });
      const list = document.createElement("dl");
      for (const [label, texts] of known) {
        const pair = document.createElement("div");
        pair.append(make("dt", label), make("dd", texts[place]));
        list.append(pair);
      }
      readout.replaceChildren(name, list);
      for (const [severity, message, anchor] of found.slice(0, 4)) {
        const line = document.createElement("p");
        line.append(make("b", `${severity}: `), make("a", message, { href: `#${anchor}` }));
        readout.append(line);
      }
      const values = known.map(([label, texts]) => `${label} ${texts[place]}`);
      const said = found.map(([severity, message]) => `${severity}: ${message}`);
      range.setAttribute("aria-valuetext", [data.layers[place], ...values, ...said].join(", "));
    };
    range.addEventListener("input", () => tell(Number(range.value)));
    const rows = figure.querySelector(".stack");
    const follow = (event) => {
      const box = columns.getBoundingClientRect();
      const share = (event.clientX - box.left) / box.width;
      if (share >= 0 && share < 1) tell(Math.floor(share * count));
    };
    rows.addEventListener("pointermove", follow);
    rows.addEventListener("pointerdown", follow);
    const named = () => {
      const found = /^#layer-(\d+)$/.exec(location.hash);
      if (found) tell(Number(found[1]));
    };
    window.addEventListener("hashchange", named);
    tell(data.start);
    named();
  };
  glance();

  // A link to a finding that is folded away opens its fold.
  const unfold = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const fold = target && target.closest("details");
    if (fold && !fold.open) { fold.open = true; target.scrollIntoView(); }
  };
  window.addEventListener("hashchange", unfold);
  unfold();
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((fold) => { fold.open = true; }));
})();
