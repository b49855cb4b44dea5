// The item explorer: one row per item, a mark per tier, and prompt and answers on request. Filled from packed columns, so
// that ten thousand items stay out of the markup.
"use strict";

(() => {
  const drawn = new Promise((resolve) => {
    if (document.documentElement.dataset.drawn) resolve();
    else addEventListener("drawn", resolve, { once: true });
    setTimeout(resolve, 2000);
  });
  const ready = () => {
    document.documentElement.dataset.ready = "true";
  };
  const table = document.getElementById("items");
  if (!table) {
    drawn.then(ready);
    return;
  }
  const PAGE = 50;
  const by = (id) => document.getElementById(id);
  const element = (tag, text, css) => {
    const made = document.createElement(tag);
    if (text !== undefined && text !== null) made.textContent = text;
    if (css) made.className = css;
    return made;
  };
  const labels = new Map(JSON.parse(by("view").textContent).labels);
  const levelOf = (key) => (labels.get(key) ?? key).replace(/ \(requantized from .*\)$/, "");
  const tasks = new Map();
  let shown = PAGE;

  // Tiers in the order of the ladder, each with the place of its answer to an item.
  function prepare(task) {
    const order = new Map([...labels.keys()].map((key, i) => [key, i]));
    task.tiers.sort((a, b) => (order.get(a.key) ?? 0) - (order.get(b.key) ?? 0));
    for (const tier of task.tiers) tier.places = new Map(tier.items.map((item, place) => [item, place]));
    task.items.forEach((item, place) => {
      item.place = place;
    });
  }
  // Whether the tier solved the item; undefined if it was not shown.
  const passed = (tier, item) => {
    const place = tier.places.get(item.place);
    return place === undefined ? undefined : tier.passes[place] === "1";
  };
  // A column that is not there is unknown throughout.
  const text = (task, tier, place) => task.texts[tier.answers?.[place]];

  function wanted(task, item) {
    const results = task.tiers.map((tier) => passed(tier, item));
    const keep = {
      all: true, failed: results.includes(false), solved: results.includes(true),
      disagree: results.includes(true) && results.includes(false), none: !results.includes(true),
    }[by("item-outcome").value];
    if (!keep) return false;
    const words = by("item-text").value.toLowerCase().trim();
    if (!words) return true;
    const answers = task.tiers.flatMap((tier) => {
      const place = tier.places.get(item.place);
      return [text(task, tier, place), tier.raw?.[place]];
    });
    return [item.id, item.prompt, ...(item.target ?? []), ...answers].some((one) => one?.toLowerCase().includes(words));
  }

  function mark(pass) {
    const cell = element("td", undefined, "mark");
    if (pass === undefined) {
      cell.append(element("span", "not shown", "sr"));
      return cell;
    }
    const sign = element("span", pass ? "✓" : "✗", pass ? "pass" : "fail");
    sign.setAttribute("aria-hidden", "true");
    cell.append(sign, element("span", pass ? "solved" : "failed", "sr"));
    return cell;
  }

  function answers(task, item) {
    const made = element("table");
    const head = made.createTHead().insertRow();
    for (const title of ["tier", "outcome", "answer", "as written", "confidence", "ms", "ended by"]) {
      const cell = element("th", title);
      cell.scope = "col";
      head.append(cell);
    }
    const body = made.createTBody();
    for (const tier of task.tiers.filter((tier) => tier.places.has(item.place))) {
      const place = tier.places.get(item.place);
      const pass = passed(tier, item);
      const row = body.insertRow();
      const name = element("th", labels.get(tier.key) ?? tier.key);
      name.scope = "row";
      const choices = task.labels[tier.labels?.[place]]?.map((label, i) => `${label} ${tier.ln_p[place][i].toFixed(2)}`).join(" · ");
      row.append(
        name, element("td", pass ? "solved" : "failed", pass ? "pass" : "fail"), element("td", text(task, tier, place) ?? "—", "wrap"),
        element("td", tier.raw?.[place] ?? (choices ? `ln p: ${choices}` : "—"), "wrap"),
        element("td", tier.confidence?.[place]?.toFixed(3) ?? "—", "n"), element("td", tier.ms?.[place]?.toFixed(1) ?? "—", "n"),
        element("td", task.ends[tier.ends[place]]),
      );
    }
    const scroll = element("div", undefined, "scroll");
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", "Answers");
    scroll.append(made);
    return scroll;
  }

  function details(task, item) {
    const row = element("tr");
    const cell = element("td", undefined, "inner");
    cell.colSpan = task.tiers.length + 2;
    const texts = element("div", undefined, "texts");
    const block = (title, content) => {
      const made = element("div");
      const pre = element("pre", content);
      pre.tabIndex = 0;
      pre.setAttribute("role", "region");
      pre.setAttribute("aria-label", title);
      made.append(element("h4", title), pre);
      texts.append(made);
    };
    block("Prompt (behind the part all items share)", item.prompt ?? "The record holds the hash of the prompt only.");
    if (item.target) block("Right answer", item.target.join("\nor: "));
    const opened = element("div", undefined, "opened");
    opened.append(texts, answers(task, item));
    cell.append(opened);
    row.append(cell);
    return row;
  }

  function draw() {
    const task = tasks.get(by("item-task").value);
    if (!task) return;
    const matching = task.items.filter((item) => wanted(task, item));
    const head = element("tr");
    for (const title of ["item", "difficulty", ...task.tiers.map(({ key }) => levelOf(key))]) {
      const cell = element("th", title);
      cell.scope = "col";
      head.append(cell);
    }
    table.tHead.replaceChildren(head);
    const rows = matching.slice(0, shown).map((item) => {
      const row = element("tr");
      const name = element("th");
      name.scope = "row";
      const open = element("button", item.id, "open");
      open.type = "button";
      open.setAttribute("aria-expanded", "false");
      open.addEventListener("click", () => {
        const closed = open.getAttribute("aria-expanded") === "false";
        open.setAttribute("aria-expanded", String(closed));
        if (closed) row.after(details(task, item));
        else row.nextElementSibling.remove();
      });
      name.append(open);
      row.append(name, element("td", item.level ?? "—"), ...task.tiers.map((tier) => mark(passed(tier, item))));
      return row;
    });
    table.tBodies[0].replaceChildren(...rows);
    by("item-count").textContent = `${matching.length} items, ${rows.length} shown`;
    by("item-more").hidden = rows.length >= matching.length;
  }

  const restart = () => {
    shown = PAGE;
    draw();
  };
  // Unpacked beside the plots and shown once they stand: nobody sees the items first.
  const packed = unpack("items-data");
  Promise.all([packed, drawn]).then(([json]) => {
    for (const task of JSON.parse(json).tasks) {
      prepare(task);
      tasks.set(task.name, task);
      by("item-task").append(new Option(task.name, task.name));
    }
    for (const id of ["item-task", "item-outcome"]) by(id).addEventListener("change", restart);
    by("item-text").addEventListener("input", restart);
    by("item-more").addEventListener("click", () => {
      shown += PAGE;
      draw();
    });
    draw();
    ready();
  }).catch((error) => {
    by("item-count").textContent = `The items in this page cannot be unpacked: ${error.message}`;
  });
})();
