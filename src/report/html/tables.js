// What all pages share: sorting and filtering of tables, names of plots, packed data. Text from the record is only
// ever set as text, and escaped in the markup of rows that wait.
"use strict";

// The rows of a table: all of them, and which are drawn. A long table of a leaderboard comes with its first rows; the
// others wait in the page, packed, as the markup the first have, until something asks for them.
const STEP = 200;
const lists = [...document.querySelectorAll("table.sortable")].map((table) => {
  const more = table.dataset.rest && document.getElementById(`more-${table.dataset.rest}`);
  const rows = [...table.tBodies[0].rows];
  const list = { table, rows, rest: table.dataset.rest, limit: table.dataset.rest ? rows.length : Infinity, words: [], more };
  more?.querySelector("button").addEventListener("click", async () => {
    await complete(list);
    list.limit += STEP;
    draw(list);
  });
  if (more) more.querySelector("button").hidden = false;
  return list;
});

let packed;
async function complete(list) {
  if (!list.rest) return;
  packed ??= unpack("rows").then(JSON.parse);
  const rest = (await packed)[list.rest];
  if (!list.rest) return;
  list.rest = undefined;
  const template = document.createElement("template");
  template.innerHTML = rest;
  list.rows = list.rows.concat([...template.content.children]);
}

const texts = new WeakMap();
function textOf(row) {
  if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
  return texts.get(row);
}

// Returns how many rows match.
function draw(list) {
  const matching = list.rows.filter((row) => list.words.every((word) => textOf(row).includes(word)));
  const drawn = matching.slice(0, list.limit);
  list.table.tBodies[0].replaceChildren(...drawn);
  if (list.more) {
    const of = `${matching.length} ${list.words.length ? "matching rows" : "rows"}`;
    list.more.querySelector("span").textContent = drawn.length < matching.length ? `${drawn.length} of ${of} are shown.` : `All ${of} are shown.`;
    list.more.querySelector("button").hidden = drawn.length >= matching.length;
  }
  list.table.dispatchEvent(new Event("drawn", { bubbles: true }));
  return matching.length;
}

// Rows whose cell is unknown stay at the end in either direction.
async function sortBy(list, column, header) {
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  for (const other of list.table.tHead.rows[0].cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  await complete(list);
  const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
  const rows = list.rows.map((row) => ({ row, text: key(row), number: parseFloat(key(row)) }));
  const numeric = header.classList.contains("n");
  const order = new Intl.Collator(undefined, { numeric: true });
  rows.sort((a, b) => {
    if (!numeric) return (ascending ? 1 : -1) * order.compare(a.text, b.text);
    if (Number.isNaN(a.number) || Number.isNaN(b.number)) return Number.isNaN(a.number) - Number.isNaN(b.number);
    return (ascending ? 1 : -1) * (a.number - b.number);
  });
  list.rows = rows.map(({ row }) => row);
  draw(list);
}

for (const list of lists) {
  [...list.table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    header.replaceChildren(button);
    header.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sortBy(list, column, header));
  });
}

// Every word must occur in a row for it to stay.
for (const filter of document.querySelectorAll("input[data-filters]")) {
  const status = document.getElementById(`${filter.id}-count`);
  const filtered = lists.filter((list) => list.table.classList.contains(filter.dataset.filters));
  filter.addEventListener("input", async () => {
    await Promise.all(filtered.map(complete));
    // What is in the field by now: rows may have been waited for.
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let [matching, all] = [0, 0];
    for (const list of filtered) {
      list.words = words;
      matching += draw(list);
      all += list.rows.length;
    }
    if (status) status.textContent = words.length ? `${matching} of ${all} rows` : "";
  });
}

// A plot is one picture to a screen reader, with this name: the parts Plot names itself have no role to carry a name.
function nameplate(plot, name) {
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", name);
  for (const part of plot.querySelectorAll("g[aria-label]")) {
    part.dataset.mark = part.getAttribute("aria-label");
    part.removeAttribute("aria-label");
  }
  for (const part of plot.querySelectorAll("[aria-description]")) part.removeAttribute("aria-description");
  return plot;
}

// Data stands in the page gzipped, in base64.
async function unpack(id) {
  const packed = document.getElementById(id).textContent;
  const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(packed) : Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return await new Response(stream).text();
}

document.getElementById("download")?.addEventListener("click", async (event) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([await unpack("record")], { type: "application/json" }));
  link.download = event.target.dataset.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
});
