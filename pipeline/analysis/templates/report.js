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

// A link into a fold opens it; in print all that is open stays open.
const unfold = () => { const aim = document.getElementById(decodeURIComponent(location.hash.slice(1))); if (aim instanceof HTMLDetailsElement) aim.open = true; };
addEventListener("hashchange", unfold);
unfold();
