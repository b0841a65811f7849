// Headings of tables sort by their column; without scripts the tables stay as they are.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows].at(-1).cells;
  // The cell of a row below a heading: those that span several columns count as many.
  const below = (row, column) => [...row.cells].find(cell => (column -= cell.colSpan) < 0);
  [...heads].forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = row => { const cell = below(row, column); return cell?.dataset.value ?? cell?.textContent.trim() ?? ""; };
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)], [m, n] = [Number(x), Number(y)];
        if (isNaN(m) || isNaN(n)) return isNaN(m) && isNaN(n) ? x.localeCompare(y) * (up ? 1 : -1) : isNaN(m) - isNaN(n);
        return (m - n) * (up ? 1 : -1);
      };
      body.append(...[...body.rows].sort(compare));
    });
  });
}

// The buttons that copy the code; where there is no clipboard, the code is marked instead.
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const code = document.getElementById(button.dataset.copies), told = button.parentElement.querySelector("[role=status]");
    getSelection().selectAllChildren(code);
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      if (!document.execCommand("copy")) { told.textContent = "marked: copy it with the keyboard"; return; }
    }
    told.textContent = "copied";
  });
}

// A few schedulers in colour at a time: one more, and the one that has been longest goes grey. All figures of a problem follow.
for (const section of document.querySelectorAll("[data-most]")) {
  const buttons = [...section.querySelectorAll("[data-scheduler]")];
  const shown = [...new Set(buttons.filter(b => b.ariaPressed === "true").map(b => b.dataset.scheduler))];
  const paint = (number, on) => {
    section.style.setProperty(`--scheduler-${number}`, on ? "" : "var(--faint)");
    section.style.setProperty(`--band-${number}`, on ? "" : "none");
    for (const button of buttons) if (button.dataset.scheduler === number) button.ariaPressed = String(on);
  };
  for (const button of buttons) button.addEventListener("click", () => {
    const number = button.dataset.scheduler, at = shown.indexOf(number);
    paint(number, at < 0);
    if (at >= 0) shown.splice(at, 1);
    else if (shown.push(number) > Number(section.dataset.most)) paint(shown.shift(), false);
  });
}

// A pointer on a chart shows the nearest point: which scheduler, and its figures, read off the axes as the chart has them.
const names = Object.fromEntries(document.querySelector(".symbols").dataset.names.split(",").map(name => name.split(" ")));
const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
document.body.append(tip);
const figure = (share, [low, high, isLog, percent]) => {
  const value = isLog ? low * (high / low) ** share : low + (high - low) * share;
  const short = Number((value * (percent || 1)).toPrecision(4)).toString().replace("-", "\u2212");
  return percent ? `${short}%` : short;
};
const words = (x, y, number, axes) => {
  const chart = axes.find(([[left, top, width, height]]) => x >= left - 1 && x <= left + width + 1 && y >= top - 1 && y <= top + height + 1);
  if (!chart) return null;
  const [[left, top, width, height], across, up, title, rows] = chart, at = 1 - (y - top) / height;
  if (rows.length) {
    const place = up[0] + (up[1] - up[0]) * at;
    const [, row] = rows.reduce((a, b) => Math.abs(b[0] - place) < Math.abs(a[0] - place) ? b : a);
    return `${row}: ${figure((x - left) / width, across)}`;
  }
  const named = title || axes.at(-1)[3];
  return `${names[number] ?? ""}: ${figure(at, up)} at ${named.replace(/ of training$/, "")} ${figure((x - left) / width, across)}`.replace(/^: /, "");
};
const pointsOf = (svg, axes) => [...svg.querySelectorAll("path, use")].flatMap(drawn => {
  const style = drawn.getAttribute("style") ?? "", number = /--scheduler-(\d+)/.exec(style)?.[1];
  if (drawn.closest("defs") || (!number && !style.includes("--muted"))) return [];
  const places = drawn.matches("use")
    ? [[drawn.getAttribute("x"), drawn.getAttribute("y")]]
    : /fill: ?none/.test(style) ? (drawn.getAttribute("d").match(/-?[\d.]+[ ,]-?[\d.]+/g) ?? []).map(pair => pair.split(/[ ,]/)) : [];
  return places.map(pair => pair.map(Number)).map(([x, y]) => ({ x, y, words: words(x, y, number, axes) })).filter(p => p.words);
});
for (const svg of document.querySelectorAll("figure svg[data-axes]")) {
  const axes = JSON.parse(svg.dataset.axes);
  let points;
  const show = event => {
    points ??= pointsOf(svg, axes);
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best, reach = 14;
    for (const point of points) {
      const away = Math.hypot(point.x - at.x, point.y - at.y);
      if (away < reach) [best, reach] = [point, away];
    }
    tip.hidden = !best;
    if (!best) return;
    tip.textContent = best.words;
    tip.style.left = `${Math.max(0, Math.min(event.pageX + 12, scrollX + document.documentElement.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${event.pageY + 14}px`;
  };
  for (const kind of ["pointermove", "pointerdown"]) svg.addEventListener(kind, show);
  svg.addEventListener("pointerleave", () => { tip.hidden = true; });
}

// On paper nobody can unfold: the comparison of each problem is printed, too.
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details[id$='-comparison']:not([open])")];
  for (const fold of unfolded) fold.open = true;
});
addEventListener("afterprint", () => { for (const fold of unfolded) fold.open = false; });

// A link into a fold opens it.
const unfold = () => { const aim = document.getElementById(decodeURIComponent(location.hash.slice(1))); if (aim instanceof HTMLDetailsElement) aim.open = true; };
addEventListener("hashchange", unfold);
unfold();
