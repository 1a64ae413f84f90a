
// Searches and sorts the contents.
function contents(section) {
  const form = section.querySelector("form");
  const [input, kind, count] = form.elements;
  const body = section.querySelector("tbody");
  const rows = [...body.rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const cell = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/);
    let shown = 0;
    let bytes = 0;
    rows.forEach((row, i) => {
      const fits = !kind.value || cell(row, 2) === kind.value;
      row.hidden = !fits || !words.every((word) => texts[i].includes(word));
      if (row.hidden) return;
      shown += 1;
      bytes += Number(cell(row, 5));
    });
    count.textContent = `${shown} of ${rows.length}, ${amount(bytes)}`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
  const headings = [...section.querySelectorAll("thead th")];
  headings.forEach((heading, column) => {
    const button = element("button", heading.textContent, { type: "button" });
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const first = column === 5 ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = heading.getAttribute("aria-sort") === first ? other : first;
      for (const each of headings) each.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const name = (row) => row.querySelector("summary").textContent;
      const value = (row) => (column === 0 ? name(row) : cell(row, column));
      const compare = new Intl.Collator("en", { numeric: true }).compare;
      rows.sort((a, b) => sign * compare(value(a), value(b)) || compare(name(a), name(b)));
      rows.forEach((row, i) => (texts[i] = row.textContent.toLowerCase()));
      body.append(...rows);
    });
  });
}

// Searches the kernel's configuration line by line.
function configuration(section) {
  const form = section.querySelector("form");
  if (!form) return;
  const [input, state, count] = form.elements;
  const text = section.querySelector("pre");
  const all = text.textContent.trimEnd().split("\n");
  const states = { y: /=y$/, m: /=m$/, n: /^# CONFIG_\w+ is not set$/, v: /^CONFIG_\w+=(?![ym]$)/ };
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/);
    const fits = (line) => !state.value || states[state.value].test(line);
    const found = all.filter((line) => fits(line) && words.every((word) => line.toLowerCase().includes(word)));
    text.textContent = found.join("\n");
    text.scrollTop = 0;
    count.textContent = `${found.length} of ${all.length} lines`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
}
