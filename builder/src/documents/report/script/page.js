
"use strict";
for (const article of document.querySelectorAll("article")) {
  tabs(article.querySelector(".parts"));
  treemap(article.querySelector(".size"));
  contents(article.querySelector(".contents"));
  configuration(article.querySelector(".kernel"));
}

// The links to the parts become tabs, of which one is shown at a time.
function tabs(list) {
  const all = [...list.children];
  const panel = (tab) => document.getElementById(tab.hash.slice(1));
  const choose = (chosen) => {
    for (const tab of all) {
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      panel(tab).hidden = tab !== chosen;
    }
    // What was hidden has had no width to draw in.
    dispatchEvent(new Event("resize"));
  };
  list.setAttribute("role", "tablist");
  for (const tab of all) {
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", tab.hash.slice(1));
    panel(tab).setAttribute("role", "tabpanel");
    tab.addEventListener("click", (event) => {
      event.preventDefault();
      history.replaceState(null, "", tab.hash);
      choose(tab);
    });
  }
  list.addEventListener("keydown", (event) => {
    const at = all.indexOf(event.target);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const tab = all.at(next % all.length);
    tab.focus();
    tab.click();
  });
  const named = () => all.find((tab) => tab.hash === location.hash);
  addEventListener("hashchange", () => named() && choose(named()));
  choose(named() ?? all[0]);
}

function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// A number of bytes with three digits that count.
function amount(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit + 1 < units.length) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[unit]}`;
}
