"use strict";

// Sorts by a column: numbers by value, words by alphabet, rows without a value last.
function value(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = parseFloat(text.replace(/,/g, "").replace("−", "-"));
  return Number.isNaN(number) || !/^[-+−]?[\d.]/.test(text) || /^[0-9a-f]{16,}$/.test(text) ? text : number;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const rows = [...body.rows];
    const empty = (row) => ["–", ""].includes(row.cells[column].textContent.trim());
    const numeric = rows.some((row) => !empty(row) && typeof value(row, column) === "number");
    const before = head.getAttribute("aria-sort");
    // The first click shows the best on top: the highest number, or the first word.
    const order = before === "none" ? (numeric ? "descending" : "ascending") : before === "ascending" ? "descending" : "ascending";
    for (const other of heads) other.setAttribute("aria-sort", other === head ? order : "none");
    const sign = order === "ascending" ? 1 : -1;
    rows.sort((a, b) => empty(a) - empty(b) || sign * compare(value(a, column), value(b, column)));
    body.append(...rows);
  }));
}

// A table that goes on at the right, or below, says so by a shade on that edge.
const shade = (one) => {
  one.classList.toggle("more", one.scrollWidth - one.clientWidth - one.scrollLeft > 2);
  one.classList.toggle("below", one.scrollHeight - one.clientHeight - one.scrollTop > 2);
};
const scrolled = new ResizeObserver((changes) => changes.forEach((change) => shade(change.target)));
for (const one of document.querySelectorAll(".scroll")) {
  scrolled.observe(one);
  one.addEventListener("scroll", () => shade(one), { passive: true });
}

// Figures. Ids in an SVG say what its dots are; their rows, in the order of the ids, stand in the link to its CSV.

const tip = Object.assign(document.createElement("div"), { id: "tip", hidden: true });
tip.setAttribute("role", "status");
document.querySelector("main").append(tip);
let closeTip = () => {}, placeTip = () => {}; // of the figure that it belongs to
const add = (parent, name, text, attributes = {}, space = document.documentElement.namespaceURI) => {
  const one = document.createElementNS(space, name);
  one.textContent = text;
  for (const key in attributes) one.setAttribute(key, attributes[key]);
  parent.append(one);
  return one;
};

function rowsOf(link) {
  const lines = decodeURIComponent(link.href.slice(link.href.indexOf(",") + 1)).trim().split(/\r?\n/);
  const cells = (line) => [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)].map((cell) => cell[1].replace(/^"|"$/g, "").replace(/""/g, '"'));
  const names = cells(lines[0]);
  return lines.slice(1).map((line) => Object.fromEntries(cells(line).map((cell, at) => [names[at], cell]).filter(([name, cell]) => name && cell)));
}

const short = (text) => (/^-?\d+\.\d{3,}$/.test(text) ? Number(text).toFixed(2) : text);

// What a dot is, in lines; the last may be the command that exports its arch.
function describe(row, figure) {
  const { series, method, name, arch, macs, top1, of, low, high, runs, ...rest } = row;
  const words = [[name, arch].filter(Boolean).join(" · ")];
  if (macs) words.push(`${(macs / 1e6).toFixed(2)} M MACs`);
  const interval = low ? ` [${Number(low).toFixed(2)}, ${Number(high).toFixed(2)}], 95% interval over ${runs.split(" ").length} seeds` : "";
  if (top1) words.push(`${Number(top1).toFixed(2)} %${interval} on ${of}`);
  for (const key in rest) words.push(`${key}: ${short(rest[key])}${key === "difference" ? interval : ""}`);
  const first = runs && runs.split(" ")[0];
  const [, stem, seed] = (first && first.match(/^(.*)-(\d+)$/)) || [];
  const whole = arch && /_r\d+$/.test(arch) && stem === method;
  const command = whole && figure.dataset.experiment && `deps export ${figure.dataset.experiment} --method ${method} --seed ${seed} --arch ${arch}`;
  return { series, words: words.filter(Boolean), runs: runs ? runs.split(" ") : [], command };
}

// Axes of a figure as they are drawn: the frame, and of each direction its ticks; `scale` where their numbers are linear.
function axesOf(figure, svg) {
  const within = (group, kind) => [...group.querySelectorAll(`[id^="${figure.id}-${kind}_"]`)];
  const found = within(svg, "axes").filter((group) => within(group, "patch").length).map((group) => ({ frame: within(group, "patch")[0].getBBox(), ticks: [0, 1].map((y) => within(group, "xy"[y] + "tick").map((tick) => {
    const use = tick.querySelector("use[x]"), text = within(tick, "text")[0];
    const number = text && text.dataset.number ? Number(text.dataset.number.replace("−", "-")) : NaN;
    const own = text && text.getBBox(), middle = own && (y ? own.y + own.height / 2 : own.x + own.width / 2);
    return { at: use ? Number(use.getAttribute("xy"[y])) : middle, text, own, number };
  }).filter((tick) => tick.text)) }));
  for (const axes of found) {
    axes.scale = axes.ticks.map((ticks, y) => {
      // Panels that share an axis have its numbers once.
      const shared = ticks.length ? ticks : (found.find((one) => one.ticks[y].length && Math.abs(one.frame["xy"[y]] - axes.frame["xy"[y]]) < 1) || axes).ticks[y];
      if (shared.length < 3) return null; // of two nothing tells whether it is a logarithm
      const [first, last] = [shared[0], shared.at(-1)], slope = (last.number - first.number) / (last.at - first.at);
      const linear = shared.every((tick) => Math.abs(first.number + slope * (tick.at - first.at) - tick.number) < 0.02 * Math.abs(last.number - first.number));
      return linear && slope ? { value: (at) => first.number + slope * (at - first.at), at: (value) => first.at + (value - first.number) / slope } : null;
    });
  }
  return found;
}

// At most about `count` round numbers between two, with the decimals that they need.
function rounds(low, high, count) {
  if (count < 1 || !(high > low)) return [];
  const power = 10 ** Math.floor(Math.log10((high - low) / count)), step = power * [1, 2, 5, 10].find((one) => one * power >= (high - low) / count * 0.999);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), found = [];
  for (let number = Math.ceil(low / step - 1e-6); number * step <= high + step / 1e6; number++) found.push(number * step);
  return found.map((value) => [value, (value || 0).toFixed(decimals).replace("-", "−")]); // −0 is 0
}

// The part of a figure that is seen has axes of its own on its edges, with finer ticks; words that are ticks stand there too.
function ruler(svg, axes, box, whole) {
  const small = box.width / whole.width, pad = 3 * small, lines = document.createElementNS(svg.namespaceURI, "g");
  lines.setAttribute("class", "ruler");
  lines.setAttribute("font-size", 8.5 * small);
  lines.setAttribute("stroke-width", 3 * small);
  const right = box.x + box.width, bottom = box.y + box.height;
  for (const { frame, ticks, scale } of axes) {
    const low = [Math.max(frame.x, box.x), Math.max(frame.y, box.y)];
    const high = [Math.min(frame.x + frame.width, right), Math.min(frame.y + frame.height, bottom)];
    if (low[0] >= high[0] || low[1] >= high[1]) continue;
    // Beside the frame where there is room for it.
    const outside = [frame.x - box.x > 30 * small, bottom - frame.y - frame.height > 12 * small];
    for (const y of [0, 1]) {
      const edge = y ? low[0] + (outside[0] ? -pad : pad) : high[1] + (outside[1] ? 11 * small : -pad);
      if (scale[y]) {
        const ends = [scale[y].value(low[y]), scale[y].value(high[y])].sort((a, b) => a - b);
        const count = Math.min(4, Math.floor((high[y] - low[y]) / ((y ? 16 : 40) * small)));
        for (const [value, text] of rounds(...ends, count)) {
          const at = scale[y].at(value), room = (y ? 4 : 3 * text.length) * small; // half of what the number takes
          if (at < (y ? box.y : box.x) + room || at > (y ? bottom : right) - room) continue;
          const anchor = y ? (outside[0] ? "end" : "start") : "middle";
          const one = add(lines, "text", text, { x: y ? edge : at, y: y ? at : edge, "text-anchor": anchor }, svg.namespaceURI);
          if (y) one.setAttribute("dominant-baseline", "central");
        }
      } else for (const { at, text, own } of ticks[y].filter((tick) => low[y] <= tick.at && tick.at <= high[y])) {
        // A word that stands across its axis ends at its tick, by its upper right corner.
        const copy = text.cloneNode(true), turned = !y && /rotate/.test(text.innerHTML), beside = y ? outside[0] : outside[1];
        const corner = y ? [own.x + (beside ? own.width : 0), own.y + own.height / 2] : [turned ? own.x + own.width : own.x + own.width / 2, own.y + (beside ? 0 : own.height)];
        const place = y ? [edge, at] : [at, beside ? high[1] + pad : high[1] - pad];
        copy.removeAttribute("id");
        copy.setAttribute("class", "word");
        copy.setAttribute("transform", `translate(${place.join(" ")}) scale(${small}) translate(${-corner[0]} ${-corner[1]})`);
        lines.append(copy);
      }
    }
  }
  svg.append(lines);
}

function prepareFigure(figure) {
  const plot = figure.querySelector(".plot"), svg = plot.querySelector("svg"), link = figure.querySelector("a[download$='.csv']");
  const named = (kind) => [...svg.querySelectorAll(`[id^="${figure.id}-${kind}-"]`)];
  const numbers = (one) => one.id.slice(figure.id.length + 1).split("-");
  const rows = link ? rowsOf(link) : [];
  let next = 0;
  const dots = named("dots").sort((a, b) => numbers(a)[2] - numbers(b)[2]).flatMap((group) => {
    const uses = [...group.querySelectorAll("use")];
    return (uses.length ? uses : [group]).map((one) => ({ one, bar: !uses.length, series: numbers(group)[1], row: rows[next++] }));
  });
  const box = svg.viewBox.baseVal, whole = { x: box.x, y: box.y, width: box.width, height: box.height };
  for (const dot of dots) {
    const at = dot.bar ? dot.one.getBBox() : null;
    dot.x = at ? at.x + at.width / 2 : Number(dot.one.getAttribute("x"));
    dot.y = at ? at.y + at.height / 2 : Number(dot.one.getAttribute("y"));
    dot.box = at;
  }
  const hidden = new Set();
  const shown = () => dots.filter((dot) => !hidden.has(dot.series));

  // The drawn legend becomes buttons of the same marks, which switch series.
  const legend = svg.querySelector(`[id="${figure.id}-legend"]`);
  if (legend) {
    const keys = document.createElement("div");
    keys.className = "keys";
    for (const key of named("key")) {
      const [, series, ...label] = numbers(key), at = key.getBBox();
      const one = document.createElement(series === "x" ? "span" : "button");
      const mark = document.createElementNS(svg.namespaceURI, "svg"), use = document.createElementNS(svg.namespaceURI, "use");
      mark.setAttribute("viewBox", `${at.x - 2} ${at.y - 3} ${at.width + 4} ${at.height + 6}`);
      mark.setAttribute("aria-hidden", "true");
      use.setAttribute("href", `#${encodeURIComponent(key.id)}`); // a label in it may hold what addresses decode
      mark.append(use);
      one.append(mark, decodeURIComponent(label.join("-")));
      if (series !== "x") {
        one.type = "button";
        one.setAttribute("aria-pressed", "true");
        one.addEventListener("click", () => {
          const off = !hidden.delete(series);
          if (off) hidden.add(series);
          one.setAttribute("aria-pressed", String(!off));
          for (const drawn of [...named("dots"), ...named("part")]) if (numbers(drawn)[1] === series) drawn.classList.toggle("off", off);
          close();
        });
      }
      keys.append(one);
    }
    const top = legend.getBBox().y;
    if (top > whole.height / 2) whole.height = top - whole.y; // it stands below everything
    legend.classList.add("off");
    plot.after(keys);
  }
  const axes = axesOf(figure, svg);
  for (const { ticks } of axes) for (const tick of ticks.flat()) tick.text.classList.add("tick");
  const show = (view) => {
    for (const key in view) box[key] = view[key];
    const zoomed = plot.classList.toggle("zoomed", view.width < whole.width - 0.01);
    svg.querySelector(".ruler")?.remove();
    if (zoomed) ruler(svg, axes, box, whole);
  };
  show(whole);

  let lit = null;
  function close() {
    if (tip.contains(document.activeElement)) plot.focus({ preventScroll: true });
    tip.hidden = true;
    tip.classList.remove("pinned");
    if (lit) lit.one.classList.remove("lit");
    lit = null;
  }
  function open(dot, pin) {
    closeTip();
    closeTip = close;
    lit = dot;
    dot.one.classList.add("lit");
    const found = describe(dot.row, figure);
    tip.replaceChildren();
    add(tip, "b", found.series);
    for (const words of found.words) add(tip, "p", words);
    if (found.runs.length) {
      const line = add(tip, "p", "run ");
      for (const run of found.runs) {
        const target = `${figure.dataset.section}-run-${run}`;
        if (document.getElementById(target)) add(line, "a", run, { href: `#${target}` }).addEventListener("click", () => setTimeout(close));
        else line.append(run);
        line.append(" ");
      }
    }
    if (found.command) {
      const line = add(tip, "p", "");
      add(line, "code", found.command);
      // What a page from disk may not copy is selected at a click.
      if (pin && navigator.clipboard) add(line, "button", "copy", { type: "button" }).addEventListener("click", (event) => {
        const say = (text) => () => (event.target.textContent = text);
        navigator.clipboard.writeText(found.command).then(say("copied"), say("not allowed: select it"));
      });
    }
    if (!pin && (found.command || found.runs.length)) add(tip, "p", "click or Enter: keep this open");
    tip.classList.toggle("pinned", pin);
    tip.hidden = false;
    const { x, y, width, height } = box;
    if (dot.x < x || dot.x > x + width || dot.y < y || dot.y > y + height) show(within({ x: dot.x - width / 2, y: dot.y - height / 2, width, height }));
    (placeTip = () => place(dot))();
  }
  function place(dot) {
    const matrix = svg.getScreenCTM(), at = new DOMPoint(dot.x, dot.y).matrixTransform(matrix), size = tip.getBoundingClientRect();
    const above = at.y - size.height - 14;
    tip.style.left = `${Math.max(8, Math.min(at.x - size.width / 2, innerWidth - size.width - 8))}px`;
    tip.style.top = `${above > 8 ? above : at.y + 14}px`;
  }
  function nearest(event) {
    const matrix = svg.getScreenCTM(), at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    let best = null, least = (event.pointerType === "touch" ? 24 : 12) / matrix.a;
    for (const dot of shown()) {
      const inside = dot.box && at.x >= dot.box.x && at.x <= dot.box.x + dot.box.width && at.y >= dot.box.y && at.y <= dot.box.y + dot.box.height;
      const distance = inside ? 0 : dot.box ? Infinity : Math.hypot(dot.x - at.x, dot.y - at.y);
      if (distance < least) [best, least] = [dot, distance];
    }
    return best;
  }

  let drag = null;
  const zoom = (factor, x = lit ? lit.x : box.x + box.width / 2, y = lit ? lit.y : box.y + box.height / 2) => {
    const width = Math.min(whole.width, Math.max(whole.width / 16, box.width / factor)), by = width / box.width;
    const height = whole.height * (width / whole.width);
    const kept = tip.classList.contains("pinned") ? null : lit;
    show(within({ x: x - (x - box.x) * by, y: y - (y - box.y) * by, width, height }));
    close();
    if (kept && document.activeElement === plot) open(kept, false); // whoever zooms by keys goes on from there
  };
  const within = (view) => ({
    ...view,
    x: Math.max(whole.x, Math.min(view.x, whole.x + whole.width - view.width)),
    y: Math.max(whole.y, Math.min(view.y, whole.y + whole.height - view.height)),
  });
  svg.addEventListener("pointermove", (event) => {
    if (drag) {
      const scale = svg.getScreenCTM().a;
      show(within({ ...drag.view, x: drag.view.x - (event.clientX - drag.x) / scale, y: drag.view.y - (event.clientY - drag.y) / scale }));
      return;
    }
    if (tip.classList.contains("pinned") || event.pointerType === "touch") return;
    const dot = nearest(event);
    if (dot && dot !== lit) open(dot, false);
    if (!dot) close();
  });
  svg.addEventListener("pointerdown", (event) => {
    if (plot.classList.contains("zoomed") && !nearest(event)) drag = { x: event.clientX, y: event.clientY, view: { x: box.x, y: box.y, width: box.width, height: box.height } };
  });
  for (const kind of ["pointerup", "pointercancel"]) svg.addEventListener(kind, () => (drag = null));
  svg.addEventListener("pointerleave", () => {
    drag = null;
    if (!tip.classList.contains("pinned")) close();
  });
  svg.addEventListener("click", (event) => {
    const dot = nearest(event);
    if (dot) open(dot, true);
    else close();
  });
  svg.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // without it the page scrolls
    event.preventDefault();
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    zoom(event.deltaY < 0 ? 1.25 : 0.8, at.x, at.y);
  }, { passive: false });
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], there = shown();
    if (event.key === "Escape") close();
    else if (event.key === "Enter" && lit) {
      if (!describe(lit.row, figure).runs.length) return; // there is nothing to follow or copy
      open(lit, true);
      tip.querySelector("a, button")?.focus();
    } else if (event.key === "+") zoom(1.5);
    else if (event.key === "-") zoom(1 / 1.5);
    else if (step && there.length) {
      let at = there.indexOf(lit) + step;
      // Up and down lead to another series, left and right along one.
      if (/Up|Down/.test(event.key) && lit) while (there[at] && there[at].series === lit.series) at += step;
      open(there[(at + there.length) % there.length] || there[0], false);
    } else return;
    event.preventDefault();
  });
  plot.addEventListener("blur", () => { if (!tip.classList.contains("pinned")) close(); });
  if (dots.length) {
    plot.setAttribute("role", "group");
    plot.setAttribute("aria-roledescription", "figure with dots");
    plot.setAttribute("aria-label", `${plot.getAttribute("aria-label")}. Arrow keys go from dot to dot, Enter keeps one open, + and − zoom.`);
  }
  const tools = add(figure.querySelector(".files"), "span", "", { class: "tools" });
  for (const [text, label, act] of [["+", "Zoom in", () => zoom(1.5)], ["−", "Zoom out", () => zoom(1 / 1.5)], ["⤢", "The whole figure", () => zoom(1 / 99)]]) {
    add(tools, "button", text, { type: "button", "aria-label": label, title: label }).addEventListener("click", act);
  }

  // Downloads show what is shown, the whole figure with its axes, in neutral colours instead of the page's theme, with the drawn legend.
  for (const link of figure.querySelectorAll("a[data-picture]")) {
    link.addEventListener("click", async (event) => {
      event.preventDefault();
      const text = asFile(svg);
      const source = new Blob([text], { type: "image/svg+xml" });
      save(link.dataset.picture === "svg" ? source : await picture(source, svg), link.download);
    });
  }
}

function asFile(svg) {
  const copy = svg.cloneNode(true), [x, y, width, height] = svg.dataset.box.split(" ").map(Number);
  copy.setAttribute("viewBox", [x, y, width, height].join(" "));
  copy.setAttribute("width", `${width}pt`);
  copy.setAttribute("height", `${height}pt`);
  const letters = document.createElementNS(svg.namespaceURI, "defs");
  for (const id of new Set([...copy.querySelectorAll("use")].map((use) => use.getAttribute("href").slice(1)))) {
    const letter = id.startsWith("DejaVu") && document.getElementById(id); // all figures share their shapes
    if (letter && !copy.querySelector(`[id="${id}"]`)) letters.append(letter.cloneNode(true));
  }
  copy.prepend(letters);
  for (const one of copy.querySelectorAll(".lit")) one.classList.remove("lit");
  copy.querySelector(".ruler")?.remove();
  for (const one of copy.querySelectorAll(".off")) if (!one.id.endsWith("-legend")) one.remove();
  return new XMLSerializer().serializeToString(copy).replace(/var\(--\w+, (#[0-9a-f]{6})\)/g, "$1");
}

async function picture(source, svg) {
  const image = new Image(), address = URL.createObjectURL(source), canvas = document.createElement("canvas");
  image.src = address;
  await image.decode();
  const scale = 1600 / image.width;
  [canvas.width, canvas.height] = [1600, Math.round(image.height * scale)];
  const paper = canvas.getContext("2d");
  paper.fillStyle = "#ffffff";
  paper.fillRect(0, 0, canvas.width, canvas.height);
  paper.drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(address);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function save(blob, name) {
  const file = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  file.click();
  setTimeout(() => URL.revokeObjectURL(file.href), 1000);
}

for (const figure of document.querySelectorAll("figure")) {
  const svg = figure.querySelector(".plot svg");
  svg.dataset.box = svg.getAttribute("viewBox");
  prepareFigure(figure);
}
addEventListener("keydown", (event) => {
  const inside = [...tip.querySelectorAll("a, button")], last = inside.at(event.shiftKey ? 0 : -1);
  // The tip stands at the page's end: Tab leads back to the figure that it belongs to, as Escape does.
  if (event.key === "Tab" && last && last === document.activeElement) {
    event.preventDefault();
    closeTip();
  } else if (event.key === "Escape") closeTip();
});
addEventListener("scroll", () => { if (!tip.hidden) placeTip(); }, { passive: true });

// A phone begins with numbers, not with contents and words.
if (matchMedia("(max-width: 60rem)").matches) for (const one of document.querySelectorAll("nav details, .glossary")) one.open = false;
