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

// The figure as it stands in its file: neutral colours instead of the page's theme, and a size of its own.
for (const link of document.querySelectorAll("a[data-figure]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const svg = document.getElementById(link.dataset.figure).querySelector(".plot svg").cloneNode(true);
    const { width, height } = svg.viewBox.baseVal;
    svg.setAttribute("width", `${width}pt`);
    svg.setAttribute("height", `${height}pt`);
    const text = new XMLSerializer().serializeToString(svg).replace(/var\(--\w+, (#[0-9a-f]{6})\)/g, "$1");
    const file = document.createElement("a");
    file.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
    file.download = link.download;
    file.click();
    setTimeout(() => URL.revokeObjectURL(file.href), 1000);
  });
}

// A phone begins with the page, not with its contents.
if (matchMedia("(max-width: 60rem)").matches) document.querySelector("nav details").open = false;
