(() => {
  const parse = (colour) => colour.match(/[\d.]+/g).map(Number);
  const clear = (colour) => colour === "none" || parse(colour)[3] === 0;
  const luminance = (colour) => {
    const [r, g, b] = parse(colour).slice(0, 3).map((part) => {
      const value = part / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const rect = at.localName === "svg" && at.querySelector(":scope > rect");
      const colour = rect ? getComputedStyle(rect).fill : getComputedStyle(at).backgroundColor;
      if (!clear(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = [];
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!text || ["SCRIPT", "OPTION", "title"].includes(element.nodeName)) continue;
    if (!element.checkVisibility() || element.getBoundingClientRect().width === 0) continue;
    texts += 1;
    const style = getComputedStyle(element);
    const [a, b] = [element.localName === "text" ? style.fill : style.color, ground(element)].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push([text.slice(0, 40), element.className.baseVal ?? element.className, ratio]);
  }
  return { faint, texts };
})()
