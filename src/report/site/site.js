// The leaderboard's plots and its comparison. Text from records is only ever set as text.
"use strict";

(async () => {
  const index = JSON.parse(await unpack("index"));
  const by = (id) => document.getElementById(id);
  // Made once: a format is dear, and every row has some numbers.
  const formats = [];
  const number = (x, digits = 3) => {
    if (x === null || x === undefined) return "—";
    formats[digits] ??= new Intl.NumberFormat("en", { maximumSignificantDigits: digits });
    return formats[digits].format(x);
  };
  const span = (interval, scale = 1) => (interval ? `${number(interval.value * scale)} [${number(interval.lo * scale)}, ${number(interval.hi * scale)}]` : "—");

  // Given as values, every one is labelled; given as a number, only powers of ten and their first multiples would be.
  function logTicks(values, most) {
    const all = d3.scaleLog().domain(d3.extent(values)).ticks(most);
    return all.filter((_, i) => i % Math.ceil(all.length / most) === 0);
  }

  // More machines than these cannot be told apart in one plot: the best keep a shape and a colour of their own.
  const SIGNS = [
    ["circle", "#4269d0"], ["square", "#efb118"], ["triangle", "#ff725c"], ["diamond", "#3ca951"], ["cross", "#a463f2"],
    ["star", "#6cc5b0"], ["wye", "#9c6b4e"],
  ];
  const OTHERS = ["circle", "var(--idle)"];
  const SHAPES = { circle: d3.symbolCircle, square: d3.symbolSquare, triangle: d3.symbolTriangle, diamond: d3.symbolDiamond, cross: d3.symbolCross, star: d3.symbolStar, wye: d3.symbolWye };

  // What the signs of a plot stand for. They are drawn, not written: text in a light colour could not be read.
  function key(entries) {
    const list = document.createElement("ul");
    list.className = "key";
    for (const [name, [shape, fill]] of entries) {
      const entry = document.createElement("li");
      const sign = d3.create("svg").attr("viewBox", "-8 -8 16 16").attr("width", 16).attr("height", 16).attr("aria-hidden", "true");
      sign.append("path").attr("d", d3.symbol(SHAPES[shape], 78)()).attr("fill", fill);
      const label = document.createElement("span");
      label.textContent = name;
      entry.append(sign.node(), label);
      list.append(entry);
    }
    return list;
  }

  const doubtful = new Set(index.records.filter((record) => record.unranked).map((record) => record.run));
  const clears = (row) => row.verdict === "CLEARS";

  // More dots than these are a cloud that takes a second to draw.
  const MOST = 1000;

  // Plots are drawn when they come into view: a site may hold many.
  function draw(figure) {
    const group = index.quality[Number(figure.dataset.group)];
    const all = group.rows.filter((row) => !doubtful.has(row.run) && row.rate && row.usd_per_1k_solved);
    const rows = all.slice(0, MOST);
    if (rows.length < 2) return;
    const points = rows.map((row) => ({
      x: row.usd_per_1k_solved.value, y: row.rate.value, y1: row.rate.lo, y2: row.rate.hi, machine: row.machine, clears: clears(row),
      tip: `${row.model} ${row.level}, ${row.verdict}\n${row.machine}\n$${span(row.usd_per_1k_solved)} per 1,000 solved\n${span(row.rate, 100)} %`,
    }));
    const machines = [...new Set(points.map((point) => point.machine))];
    // Ranked rows come first, cheapest first. One machine more is named, not called another one.
    const named = machines.slice(0, machines.length > SIGNS.length ? SIGNS.length - 1 : SIGNS.length);
    const others = machines.length - named.length;
    const entries = named.map((machine, i) => [machine, SIGNS[i]]);
    const rest = `${others} other machines`;
    if (others) entries.push([rest, OTHERS]);
    const sign = (point) => (named.includes(point.machine) ? point.machine : rest);
    const plot = Plot.plot({
      className: "plot", width: Math.max(300, figure.clientWidth), height: 340, style: { fontSize: "12px" },
      marginLeft: 50, marginBottom: 42, marginTop: 24, insetLeft: 10, insetRight: 10,
      x: { type: "log", label: "$ per 1,000 solved items →", grid: true, ticks: logTicks(points.map((point) => point.x), figure.clientWidth < 500 ? 4 : 8), tickFormat: (x) => number(x) },
      y: { label: `↑ ${group.metric}`, grid: true, nice: true, tickFormat: (y) => `${Math.round(y * 100)} %` },
      color: { domain: entries.map(([name]) => name), range: entries.map(([, [, fill]]) => fill) },
      symbol: { domain: entries.map(([name]) => name), range: entries.map(([, [shape]]) => shape) },
      marks: [
        ...(points.length > 200 ? [] : [Plot.ruleX(points, { x: "x", y1: "y1", y2: "y2", stroke: sign, strokeOpacity: 0.6 })]),
        // The named ones lie on top of the others.
        Plot.dot(points, { x: "x", y: "y", fill: sign, fillOpacity: (point) => (point.clears ? 1 : 0.35), symbol: sign, r: points.length > 200 ? 3 : 5, stroke: "var(--ground)", strokeWidth: 0.5, sort: (point) => sign(point) !== rest }),
        Plot.tip(points, Plot.pointer({ x: "x", y: "y", title: "tip", fontSize: 12, maxRadius: 40 })),
      ],
    });
    const title = `${group.task}: cost of 1,000 solved items against ${group.metric}`;
    const signs = key(entries);
    if (points.some((point) => !point.clears)) {
      const [faint, label] = [document.createElement("li"), document.createElement("span")];
      faint.className = "faint";
      label.textContent = "faint: does not clear the bar";
      faint.append(label);
      signs.append(faint);
    }
    if (rows.length < all.length) {
      const [part, label] = [document.createElement("li"), document.createElement("span")];
      part.className = "part";
      label.textContent = `the first ${MOST} of ${all.length} rows, ranked ones first`;
      part.append(label);
      signs.append(part);
    }
    figure.replaceChildren(signs, nameplate(plot, `${title}; the table below holds the numbers.`));
  }
  // How the cheapest cost at which the bar was cleared fell over the records: a step down at every new minimum.
  function trend(figure) {
    const group = index.quality[Number(figure.dataset.trend)];
    const started = new Map(index.records.map((record) => [record.run, new Date(record.started_at)]));
    const points = group.rows
      .filter((row) => row.rank !== null && row.usd_per_1k_solved && !Number.isNaN(started.get(row.run).getTime()))
      .map((row) => ({ date: started.get(row.run), usd: row.usd_per_1k_solved.value, tip: `${row.model} ${row.level}\n${row.machine}\n$${span(row.usd_per_1k_solved)}` }))
      .sort((a, b) => a.date - b.date);
    const minima = points.filter((point, i) => points.slice(0, i).every((earlier) => point.usd < earlier.usd));
    const days = points.length ? (points.at(-1).date - points[0].date) / 86_400_000 : 0;
    if (minima.length < 2 || days < 1) {
      figure.remove();
      return;
    }
    const line = [...minima, { ...minima.at(-1), date: points.at(-1).date }];
    const heading = document.createElement("figcaption");
    heading.textContent = "The cheapest cost of 1,000 solved items at which a tier cleared its bar, over the dates of the records.";
    const plot = Plot.plot({
      className: "plot", width: Math.max(300, figure.clientWidth), height: 260, style: { fontSize: "12px" },
      marginLeft: 64, marginBottom: 34, marginTop: 22,
      x: { type: "utc", label: null, grid: true }, y: { type: "log", label: "↑ $ per 1,000 solved", grid: true, tickFormat: (y) => number(y) },
      marks: [
        Plot.line(line, { x: "date", y: "usd", curve: "step-after", stroke: "var(--accent)" }),
        Plot.dot(points, { x: "date", y: "usd", r: 3, fill: "var(--soft)" }),
        Plot.dot(minima, { x: "date", y: "usd", r: 5, fill: "var(--accent)" }),
        Plot.tip(points, Plot.pointer({ x: "date", y: "usd", title: "tip", fontSize: 12, maxRadius: 40 })),
      ],
    });
    const signs = key([["cheapest until then", ["circle", "var(--accent)"]], ["cleared its bar", ["circle", "var(--soft)"]]]);
    figure.replaceChildren(heading, signs, nameplate(plot, heading.textContent));
  }
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((entry) => entry.isIntersecting)) {
      watcher.unobserve(entry.target);
      if (entry.target.dataset.trend) trend(entry.target);
      else draw(entry.target);
    }
  }, { rootMargin: "200px" });
  for (const figure of document.querySelectorAll(".site-plot")) watcher.observe(figure);

  // What is compared is named in the address by run, tier and table, so that a link outlives a rebuild of the site.
  const tables = [
    ...index.quality.map((group) => ({ name: `${group.task} ${group.task_sha256.slice(0, 12)} ≥ ${group.bar}, ${group.energy}, ${group.prices}`, group, quality: true })),
    ...index.speed.map((group) => ({ name: group.test, group, quality: false })),
  ];
  // Rows by the name their boxes have; those that are ticked stay so while they are not drawn.
  const rowOf = (id) => {
    const [place, row] = id.slice(1).split(".").map(Number);
    const table = id[0] === "q" ? tables[place] : tables[index.quality.length + place];
    return { table, row: table.group.rows[row] };
  };
  const ticked = new Set();
  const boxes = () => document.querySelectorAll("input[data-row]");
  const tick = () => {
    for (const box of boxes()) box.checked = ticked.has(box.dataset.row);
  };
  const nameOf = ({ table, row }) => [row.run, row.model, row.level, row.engine, table.name].join("|");

  function compare(missing = 0) {
    const chosen = [...ticked].map(rowOf);
    by("comparison").hidden = chosen.length === 0 && missing === 0;
    const gone = missing ? `${missing} of the rows in this link ${missing === 1 ? "is" : "are"} not on this site any more. ` : "";
    by("comparable").textContent = gone;
    if (missing && !chosen.length) by("compared").tHead.replaceChildren(), by("compared").tBodies[0].replaceChildren();
    const hash = chosen.length ? `#compare=${chosen.map((row) => encodeURIComponent(nameOf(row))).join("&")}` : "#";
    by("permalink").href = hash;
    history.replaceState(null, "", hash === "#" ? location.pathname + location.search : hash);
    if (!chosen.length) return;
    const same = new Set(chosen.map(({ table }) => table.name)).size === 1;
    by("comparable").textContent = gone + (same
      ? "These rows come from one table: they may be ranked against each other."
      : "These rows come from different tables: what they hold differs, and ratios between them would mean nothing.");
    const lines = [
      ["table", ({ table }) => table.name], ["machine", ({ row }) => row.machine], ["engine", ({ row }) => row.engine],
      ["rank", ({ row }) => row.rank ?? "—"], ["verdict", ({ row }) => (row.verdict ? `${row.verdict} at ${row.bar}` : "—")],
      ["pass rate, %", ({ row }) => span(row.rate && row.verdict ? row.rate : null, 100)],
      ["$ per 1,000 solved", ({ row }) => span(row.usd_per_1k_solved)], ["tok/s", ({ row, table }) => span(table.quality ? null : row.rate)],
      ["J per item or token", ({ row }) => number(row.joules_per_item ?? row.joules_per_token)],
    ];
    const figure = ({ table, row }) => (table.quality ? row.usd_per_1k_solved : row.rate);
    // Machines are independent: the ends that lie farthest apart bound the ratio.
    const times = (one, first) => {
      if (!one || !first || !(first.lo > 0)) return "—";
      const ratio = { value: one.value / first.value, lo: one.lo / first.hi, hi: one.hi / first.lo };
      return `${span(ratio)} ×${ratio.lo <= 1 && ratio.hi >= 1 ? " (tie)" : ""}`;
    };
    if (same && chosen.length > 1) {
      lines.push([`${chosen[0].table.quality ? "cost" : "speed"}, times the first`, (one) => (one === chosen[0] ? "1 ×" : times(figure(one), figure(chosen[0])))]);
    }
    const cell = (tag, text, scope) => {
      const made = document.createElement(tag);
      made.textContent = text;
      if (scope) made.scope = scope;
      return made;
    };
    const head = document.createElement("tr");
    head.append(cell("td", ""), ...chosen.map(({ row }) => cell("th", `${row.model} ${row.level}`, "col")));
    by("compared").tHead.replaceChildren(head);
    const shown = lines.map(([title, show]) => [title, chosen.map((one) => String(show(one)))]);
    by("compared").tBodies[0].replaceChildren(...shown.filter(([, texts]) => texts.some((text) => text !== "—")).map(([title, texts]) => {
      const line = document.createElement("tr");
      line.append(cell("th", title, "row"), ...texts.map((text) => cell("td", text)));
      return line;
    }));
  }

  function follow() {
    let wanted = [];
    try {
      if (location.hash.startsWith("#compare=")) wanted = location.hash.slice(9).split("&").map(decodeURIComponent);
    } catch {
      // An address that was cut short names nothing.
    }
    if (!wanted.length) return;
    const known = new Map();
    tables.forEach(({ group, quality }, place) => {
      const letter = quality ? `q${place}` : `s${place - index.quality.length}`;
      group.rows.forEach((row, i) => known.set(nameOf({ table: tables[place], row }), `${letter}.${i}`));
    });
    ticked.clear();
    for (const name of wanted.filter((name) => known.has(name))) ticked.add(known.get(name));
    tick();
    compare(wanted.filter((name) => !known.has(name)).length);
  }
  document.addEventListener("change", ({ target }) => {
    if (!target.dataset.row) return;
    if (target.checked) ticked.add(target.dataset.row);
    else ticked.delete(target.dataset.row);
    compare();
  });
  document.addEventListener("drawn", tick);
  by("clear").addEventListener("click", () => {
    ticked.clear();
    tick();
    compare();
  });
  window.addEventListener("hashchange", follow);
  follow();
  document.documentElement.dataset.ready = "true";
})().catch((error) => {
  document.getElementById("filter-count").textContent = `The plots and comparisons of this page cannot be unpacked: ${error.message}`;
});
