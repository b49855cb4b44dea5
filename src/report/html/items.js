// The item explorer: one row per item, a mark per tier, and prompt and answers on request. Filled from the packed record,
// so that ten thousand items stay out of the markup.
"use strict";

(() => {
  const table = document.getElementById("items");
  if (!table) return;
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
  let tasks = new Map();
  let shown = PAGE;

  // Item id → its row of answers, in the order items were shown.
  function gather(record) {
    for (const cell of record.raw.cells) {
      const name = cell.subject.task;
      if (!name || !cell.outcome.task) continue;
      if (!tasks.has(name)) tasks.set(name, { tiers: [], items: new Map() });
      const task = tasks.get(name);
      task.tiers.push(cell.tier);
      for (const answer of cell.outcome.task.items) {
        if (!task.items.has(answer.item)) task.items.set(answer.item, { id: answer.item, level: answer.level, answers: new Map() });
        task.items.get(answer.item).answers.set(cell.tier, answer);
      }
    }
    const order = new Map([...labels.keys()].map((key, i) => [key, i]));
    for (const task of tasks.values()) task.tiers.sort((a, b) => (order.get(a) ?? 0) - (order.get(b) ?? 0));
    for (const { task, items } of record.raw.prompts ?? []) {
      for (const { item, prompt, target } of items) {
        const known = tasks.get(task)?.items.get(item);
        if (known) Object.assign(known, { prompt, target });
      }
    }
  }

  function wanted(item) {
    const results = [...item.answers.values()].map((answer) => answer.pass);
    const keep = {
      all: true, failed: results.includes(false), solved: results.includes(true),
      disagree: results.includes(true) && results.includes(false), none: !results.includes(true),
    }[by("item-outcome").value];
    if (!keep) return false;
    const words = by("item-text").value.toLowerCase().trim();
    if (!words) return true;
    const texts = [item.id, item.prompt, ...(item.target ?? []), ...[...item.answers.values()].flatMap((a) => [a.answer, a.raw])];
    return texts.some((text) => text?.toLowerCase().includes(words));
  }

  function mark(answer) {
    const cell = element("td", undefined, "mark");
    if (!answer) {
      cell.append(element("span", "not shown", "sr"));
      return cell;
    }
    const sign = element("span", answer.pass ? "✓" : "✗", answer.pass ? "pass" : "fail");
    sign.setAttribute("aria-hidden", "true");
    cell.append(sign, element("span", answer.pass ? "solved" : "failed", "sr"));
    return cell;
  }

  function answers(item, tiers) {
    const made = element("table");
    const head = made.createTHead().insertRow();
    for (const title of ["tier", "outcome", "answer", "as written", "confidence", "ms", "ended by"]) {
      const cell = element("th", title);
      cell.scope = "col";
      head.append(cell);
    }
    const body = made.createTBody();
    for (const tier of tiers.filter((tier) => item.answers.has(tier))) {
      const answer = item.answers.get(tier);
      const row = body.insertRow();
      const name = element("th", labels.get(tier) ?? tier);
      name.scope = "row";
      const choices = answer.choices?.map((choice) => `${choice.text} ${choice.logprob.toFixed(2)}`).join(" · ");
      row.append(
        name, element("td", answer.pass ? "solved" : "failed", answer.pass ? "pass" : "fail"), element("td", answer.answer ?? "—", "wrap"),
        element("td", answer.raw ?? (choices ? `ln p: ${choices}` : "—"), "wrap"),
        element("td", answer.confidence?.toFixed(3) ?? "—", "n"), element("td", (answer.elapsed_ns / 1e6).toFixed(1), "n"), element("td", answer.finish_reason),
      );
    }
    const scroll = element("div", undefined, "scroll");
    scroll.append(made);
    return scroll;
  }

  function details(item, tiers, columns) {
    const row = element("tr");
    const cell = element("td", undefined, "inner");
    cell.colSpan = columns;
    const texts = element("div", undefined, "texts");
    const text = (title, content) => {
      const block = element("div");
      const pre = element("pre", content);
      pre.tabIndex = 0;
      pre.setAttribute("role", "region");
      pre.setAttribute("aria-label", title);
      block.append(element("h4", title), pre);
      texts.append(block);
    };
    text("Prompt (behind the part all items share)", item.prompt ?? "The record holds the hash of the prompt only.");
    if (item.target) text("Right answer", item.target.join("\nor: "));
    cell.append(texts, answers(item, tiers));
    row.append(cell);
    return row;
  }

  function draw() {
    const task = tasks.get(by("item-task").value);
    if (!task) return;
    const matching = [...task.items.values()].filter(wanted);
    const head = element("tr");
    for (const title of ["item", "difficulty", ...task.tiers.map(levelOf)]) {
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
        if (closed) row.after(details(item, task.tiers, task.tiers.length + 2));
        else row.nextElementSibling.remove();
      });
      name.append(open);
      row.append(name, element("td", item.level ?? "—"), ...task.tiers.map((tier) => mark(item.answers.get(tier))));
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
  // Unpacked once the plots stand: ten thousand items take a while, and nobody sees them first.
  const drawn = () => new Promise((resolve) => {
    if (document.documentElement.dataset.drawn) resolve();
    else addEventListener("drawn", resolve, { once: true });
    setTimeout(resolve, 2000);
  });
  drawn().then(theRecord).then((record) => {
    gather(record);
    for (const name of tasks.keys()) by("item-task").append(new Option(name, name));
    for (const id of ["item-task", "item-outcome"]) by(id).addEventListener("change", restart);
    by("item-text").addEventListener("input", restart);
    by("item-more").addEventListener("click", () => {
      shown += PAGE;
      draw();
    });
    draw();
    document.documentElement.dataset.ready = "true";
  }, (error) => {
    by("item-count").textContent = `The record in this page cannot be unpacked: ${error.message}`;
  });
})();
