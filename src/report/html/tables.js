// What all pages share: sorting and filtering of tables, names of plots, packed data. Text from the record is only ever set as text.
"use strict";

// Rows whose cell is unknown stay at the end in either direction.
function sortBy(table, column, header) {
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: key(row), number: parseFloat(key(row)) }));
  const numeric = header.classList.contains("n");
  rows.sort((a, b) => {
    if (!numeric) return (ascending ? 1 : -1) * a.text.localeCompare(b.text, undefined, { numeric: true });
    if (Number.isNaN(a.number) || Number.isNaN(b.number)) return Number.isNaN(a.number) - Number.isNaN(b.number);
    return (ascending ? 1 : -1) * (a.number - b.number);
  });
  table.tBodies[0].append(...rows.map(({ row }) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = header.textContent;
    header.replaceChildren(button);
    header.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sortBy(table, column, header));
  });
}

// Every word must occur in a row for it to stay.
for (const filter of document.querySelectorAll("input[data-filters]")) {
  const status = document.getElementById(`${filter.id}-count`);
  const rows = () => [...document.querySelectorAll(`.${filter.dataset.filters} tbody tr`)];
  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows()) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    if (status) status.textContent = words.length ? `${shown} of ${rows().length} rows` : "";
  };
  filter.addEventListener("input", apply);
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
