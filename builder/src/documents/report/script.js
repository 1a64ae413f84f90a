"use strict";
for (const article of document.querySelectorAll("article")) {
  tabs(article);
  treemap(article);
  contents(article);
  configuration(article);
}

// One part of the report at a time.
function tabs(article) {
  const list = article.querySelector("[role=tablist]");
  const all = [...list.querySelectorAll("[role=tab]")];
  const panel = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
  const choose = (chosen) => {
    for (const tab of all) {
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      panel(tab).hidden = tab !== chosen;
    }
  };
  for (const tab of all) {
    panel(tab).setAttribute("role", "tabpanel");
    tab.addEventListener("click", () => choose(tab));
  }
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = all[(all.indexOf(event.target) + step + all.length) % all.length];
    choose(next);
    next.focus();
  });
  list.hidden = false;
  choose(all.find((tab) => "#" + tab.getAttribute("aria-controls") === location.hash) ?? all[0]);
}

// Tiles are one stop of the Tab key; arrows go to the nearest tile on that side.
function treemap(article) {
  const items = JSON.parse(article.querySelector(".items").textContent);
  const details = article.querySelector(".details");
  const show = (tile) => {
    for (const other of article.querySelectorAll(".tile")) {
      other.setAttribute("aria-pressed", other.dataset.item === tile.dataset.item);
    }
    details.replaceChildren(...describe(items[tile.dataset.item]));
  };
  for (const map of article.querySelectorAll(".map")) {
    const tiles = [...map.querySelectorAll(".tile")];
    const focus = (tile) => {
      for (const other of tiles) other.setAttribute("tabindex", other === tile ? 0 : -1);
      tile.focus();
      show(tile);
    };
    map.addEventListener("click", (event) => {
      const tile = event.target.closest(".tile");
      if (tile) focus(tile);
    });
    map.addEventListener("keydown", (event) => {
      const tile = event.target.closest(".tile");
      if (!tile) return;
      const next = event.key === "Enter" || event.key === " " ? tile : nearest(tile, tiles, event.key);
      if (!next) return;
      event.preventDefault();
      focus(next);
    });
  }
}

function nearest(from, tiles, key) {
  const [dx, dy] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[key] ?? [0, 0];
  if (!dx && !dy) return null;
  const centre = (tile) => {
    const box = tile.querySelector(".ground").getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
  };
  const [x, y] = centre(from);
  let best = null;
  let least = Infinity;
  for (const tile of tiles) {
    const [u, v] = centre(tile);
    const ahead = (u - x) * dx + (v - y) * dy;
    if (tile === from || ahead <= 0) continue;
    const aside = Math.abs((u - x) * dy) + Math.abs((v - y) * dx);
    if (ahead + 2 * aside < least) {
      least = ahead + 2 * aside;
      best = tile;
    }
  }
  return best;
}

function describe(item) {
  const heading = element("h3", item.name);
  const about = [item.about, item.group, item.size, item.share].filter(Boolean);
  const body = element("tbody");
  for (const [path, size] of item.files) {
    const row = element("tr");
    const name = element("th", path);
    name.scope = "row";
    const number = element("td", size);
    number.className = "number";
    row.append(name, number);
    body.append(row);
  }
  const table = element("table");
  table.append(body);
  const parts = [heading, element("p", about.join(" · ")), table];
  if (item.rest) parts.push(element("p", item.rest));
  return parts;
}

function element(name, text = "") {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

// Search and sort the table.
function contents(article) {
  const input = article.querySelector(".filter-rows");
  const body = article.querySelector(".scroll tbody");
  const rows = [...body.rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const count = input.parentElement.querySelector("output");
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/);
    let shown = 0;
    rows.forEach((row, i) => {
      row.hidden = !words.every((word) => texts[i].includes(word));
      shown += !row.hidden;
    });
    count.textContent = `${shown} of ${rows.length}`;
  };
  input.addEventListener("input", filter);
  input.parentElement.hidden = false;
  filter();
  const headings = [...body.parentElement.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = element("button", heading.textContent);
    heading.replaceChildren(button);
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    button.addEventListener("click", () => {
      const first = column === headings.length - 1 ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = heading.getAttribute("aria-sort") === first ? other : first;
      for (const each of headings) each.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const compare = (a, b) => sign * value(a).localeCompare(value(b), "en", { numeric: true });
      body.append(...[...rows].sort(compare));
    });
  });
}

// Search the kernel's configuration line by line.
function configuration(article) {
  const input = article.querySelector(".filter-lines");
  if (!input) return;
  const text = article.querySelector(".configuration");
  const all = text.textContent.split("\n");
  const count = input.parentElement.querySelector("output");
  input.addEventListener("input", () => {
    const word = input.value.trim().toLowerCase();
    const found = word ? all.filter((line) => line.toLowerCase().includes(word)) : all;
    text.textContent = found.join("\n");
    count.textContent = word ? `${found.length} lines` : "";
  });
  input.parentElement.hidden = false;
}
