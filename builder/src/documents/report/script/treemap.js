
// The treemap shows a tree of sizes as deep as there is room, and any of its folders on request.
function treemap(section) {
  const title = section.closest("article").querySelector("h1").textContent;
  const root = tree(title, JSON.parse(section.querySelector("script").textContent));
  const map = section.querySelector(".map");
  const where = section.querySelector(".where");
  const caption = section.querySelector(".caption");
  const table = section.querySelector(".largest");
  let shown = root;
  let nodes = new Map();
  let width = 0;

  const share = (node) => `${((node.size / root.size) * 100).toFixed(1)} %`;
  const says = (node) => [node.name, node.about, amount(node.size), share(node)].filter(Boolean);
  const tell = (node) => {
    const [name, ...rest] = says(node);
    caption.replaceChildren(element("b", name), ` ${rest.join(" · ")}`);
  };

  function draw() {
    width = map.clientWidth;
    const height = width < 600 ? 680 : 580;
    map.setAttribute("height", height);
    nodes = new Map();
    map.replaceChildren(...level(shown.children, { x: 0, y: 0, width, height }, 0));
    map.querySelector("[tabindex]")?.setAttribute("tabindex", 0);
    rest();
  }

  // What the caption says while no tile is chosen.
  function rest() {
    if (shown.parent) return tell(shown);
    caption.textContent = "Choose a tile to look inside; Escape goes back.";
  }

  // Tiles for nodes in a box; those that are large enough hold the next level.
  function level(children, box, depth) {
    const [gap, least] = [[1, 50], [0.5, 90], [0.5, Infinity]][depth];
    return layout(children, box).flatMap(([node, place]) => {
      const room = inside(place, gap, 0);
      const holds = node.children.length > 1 && room.width >= 1.4 * least && room.height >= least;
      const made = tile(node, room, depth, holds);
      return holds ? [made, ...level(node.children, inside(room, 3, 20), depth + 1)] : [made];
    });
  }

  function tile(node, place, depth, holds) {
    const made = svg("svg", {
      class: `${node.kind} depth-${depth}${holds ? " holds" : ""}`, tabindex: -1, role: "button", "aria-label": says(node).join(", "),
      x: `${(place.x / width) * 100}%`, y: place.y, width: `${(place.width / width) * 100}%`, height: place.height,
    });
    made.append(svg("rect", { class: "ground", width: "100%", height: "100%", rx: 3 - depth }));
    const line = (text, y) => {
      if (text && place.height > y + 2) made.append(svg("text", { x: 6, y }, text));
    };
    const room = place.width - 10;
    const name = fit(node.name, room);
    const size = amount(node.size);
    const both = `${node.name}  ${size}`;
    if (holds) {
      line(fit(both, room) === both ? both : name, 16);
    } else {
      line(name, 16);
      if (fit(size, room) === size) line(size, 31);
    }
    nodes.set(made, node);
    return made;
  }

  function open(node) {
    if (node.children.length === 0) return tell(node);
    shown = node;
    const hadFocus = map.contains(document.activeElement);
    draw();
    if (hadFocus) map.querySelector("[tabindex]")?.focus({ preventScroll: true });
    crumbs();
    list(12);
  }

  function crumbs() {
    const path = [];
    for (let node = shown; node; node = node.parent) path.unshift(node);
    const steps = path.flatMap((node) => {
      if (node === shown) return [element("b", node.name, { "aria-current": "location" })];
      const button = element("button", node.name, { type: "button" });
      button.addEventListener("click", () => {
        open(node);
        where.querySelector("[aria-current]").scrollIntoView({ block: "nearest" });
      });
      return [button, element("span", "›", { "aria-hidden": true })];
    });
    where.replaceChildren(...steps);
  }

  function list(most) {
    const { name, children } = shown;
    const largest = children[0]?.size ?? 1;
    table.caption.textContent = `Largest in ${name}`;
    const rows = children.slice(0, most).map((node) => {
      const row = element("tr", "", { class: node.kind });
      const head = element("th", "", { scope: "row" });
      if (node.children.length > 0) {
        const button = element("button", node.name, { type: "button" });
        button.addEventListener("click", () => {
          open(node);
          where.scrollIntoView({ block: "nearest" });
        });
        head.append(button);
      } else {
        head.textContent = node.name;
      }
      const bar = svg("svg", { "aria-hidden": true });
      bar.append(svg("rect", { width: "100%", height: 10, rx: 2 }));
      bar.append(svg("rect", { width: `${(node.size / largest) * 100}%`, height: 10, rx: 2 }));
      const both = element("div");
      both.append(bar, element("span", share(node)));
      const cell = element("td", "", { class: "share" });
      cell.append(both);
      row.append(head, cell, element("td", amount(node.size), { class: "number" }));
      return row;
    });
    if (children.length > most) {
      const button = element("button", `Show all ${children.length}`, { type: "button" });
      button.addEventListener("click", () => list(Infinity));
      const cell = element("td", "", { colspan: 3 });
      cell.append(button);
      const row = element("tr");
      row.append(cell);
      rows.push(row);
    }
    table.tBodies[0].replaceChildren(...rows);
  }

  // An SVG element that listens for the focus would be a stop of the Tab key itself, so its frame listens.
  const frame = map.parentElement;
  const at = (event) => event.target.closest("[tabindex]");
  frame.addEventListener("click", (event) => nodes.has(at(event)) && open(nodes.get(at(event))));
  for (const kind of ["mouseover", "focusin"]) {
    frame.addEventListener(kind, (event) => nodes.has(at(event)) && tell(nodes.get(at(event))));
  }
  frame.addEventListener("mouseleave", rest);
  frame.addEventListener("keydown", (event) => {
    const from = at(event);
    if (event.key === "Enter" || event.key === " ") {
      open(nodes.get(from));
    } else if ((event.key === "Escape" || event.key === "Backspace") && shown.parent) {
      open(shown.parent);
    } else {
      const next = nearest(from, [...nodes.keys()], event.key);
      if (!next) return;
      from.setAttribute("tabindex", -1);
      next.setAttribute("tabindex", 0);
      next.focus();
    }
    event.preventDefault();
  });
  addEventListener("resize", () => map.clientWidth > 0 && map.clientWidth !== width && draw());
  map.setAttribute("role", "group");
  map.setAttribute("aria-label", "Treemap of sizes: arrow keys move, Enter opens, Escape goes back");
  where.hidden = false;
  table.hidden = false;
  open(root);
}

// From groups of items to nodes with sizes, the largest first.
function tree(title, groups) {
  const node = (name, kind, children, about = "") => {
    children.sort((a, b) => b.size - a.size || (a.name < b.name ? -1 : 1));
    return { name, kind, about, children, size: children.reduce((sum, child) => sum + child.size, 0) };
  };
  const folder = (name, kind, content) => {
    if (typeof content === "number") return { name, kind, about: "", children: [], size: content };
    const children = Object.entries(content).map(([part, inner]) => folder(part, kind, inner));
    // A folder that holds only one thing is no step of its own.
    if (name && children.length === 1) return { ...children[0], name: `${name}/${children[0].name}` };
    return node(name, kind, children);
  };
  const item = (kind) => ([name, about, content]) => {
    let { children } = folder("", kind, content);
    // Neither is the only folder of all.
    while (children.length === 1 && children[0].children.length > 0) {
      const [only] = children;
      children = only.children.map((child) => ({ ...child, name: `${only.name}/${child.name}` }));
    }
    return node(name, kind, children, about);
  };
  const group = ({ name, kind, items }) => node(name, kind, items.map(item(kind)));
  const adopt = (parent) => {
    for (const child of parent.children) adopt(Object.assign(child, { parent }));
    return parent;
  };
  return adopt(node(title, "", groups.map(group)));
}

// Boxes for nodes, as square as can be (Bruls, Huizing, van Wijk: Squarified Treemaps, 2000). Nodes that would be
// too small to see are one.
function layout(nodes, box) {
  const total = nodes.reduce((sum, node) => sum + node.size, 0);
  if (total <= 0 || box.width <= 0 || box.height <= 0) return [];
  const scale = (box.width * box.height) / total;
  const seen = gathered(nodes, 40 / scale);
  const placed = [];
  let rest = box;
  for (let start = 0, end; start < seen.length; start = end) {
    const side = Math.min(rest.width, rest.height);
    const worst = (to, row) => Math.max(side ** 2 * seen[start].size * scale / row ** 2, row ** 2 / (side ** 2 * seen[to].size * scale));
    let row = seen[start].size * scale;
    for (end = start + 1; end < seen.length; end += 1) {
      const longer = row + seen[end].size * scale;
      if (worst(end, longer) > worst(end - 1, row)) break;
      row = longer;
    }
    const upright = rest.width >= rest.height;
    const thickness = row / side;
    let offset = 0;
    for (const node of seen.slice(start, end)) {
      const length = (node.size * scale) / thickness;
      placed.push([node, upright
        ? { x: rest.x, y: rest.y + offset, width: thickness, height: length }
        : { x: rest.x + offset, y: rest.y, width: length, height: thickness }]);
      offset += length;
    }
    rest = upright
      ? { ...rest, x: rest.x + thickness, width: Math.max(rest.width - thickness, 0) }
      : { ...rest, y: rest.y + thickness, height: Math.max(rest.height - thickness, 0) };
  }
  return placed;
}

function gathered(nodes, least) {
  const large = nodes.filter((node) => node.size >= least);
  const small = nodes.filter((node) => node.size < least && node.size > 0);
  if (small.length < 2) return [...large, ...small];
  const size = small.reduce((sum, node) => sum + node.size, 0);
  const { kind, parent } = small[0];
  const one = { name: `${small.length} smaller`, kind, about: "", children: small, size, parent };
  return [...large, one].sort((a, b) => b.size - a.size);
}

function inside(box, margin, band) {
  return {
    x: box.x + margin,
    y: box.y + margin + band,
    width: Math.max(box.width - 2 * margin, 0),
    height: Math.max(box.height - 2 * margin - band, 0),
  };
}

// The tile that an arrow key leads to.
function nearest(from, tiles, key) {
  const [dx, dy] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[key] ?? [0, 0];
  if (!dx && !dy) return null;
  // A tile that holds others is where its heading is.
  const centre = (tile) => {
    const box = tile.firstChild.getBoundingClientRect();
    const high = tile.classList.contains("holds") ? 20 : box.height;
    return [box.x + box.width / 2, box.y + high / 2];
  };
  const [x, y] = centre(from);
  let best = null;
  let least = Infinity;
  for (const tile of tiles) {
    const [u, v] = centre(tile);
    const ahead = (u - x) * dx + (v - y) * dy;
    if (tile === from || ahead <= 0.5) continue;
    const far = ahead + 2 * (Math.abs((u - x) * dy) + Math.abs((v - y) * dx));
    if (far < least) {
      least = far;
      best = tile;
    }
  }
  return best;
}

// As much of a text as fits, with an ellipsis for what does not; nothing if that would say nothing.
function fit(text, width) {
  const ruler = (fit.ruler ??= Object.assign(document.createElement("canvas").getContext("2d"), {
    font: `600 12px ${getComputedStyle(document.documentElement).fontFamily}`,
  }));
  if (ruler.measureText(text).width <= width) return text;
  let kept = text.length;
  while (kept > 2 && ruler.measureText(`${text.slice(0, kept)}…`).width > width) kept -= 1;
  return kept > 2 ? `${text.slice(0, kept).trimEnd()}…` : "";
}

function svg(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}
