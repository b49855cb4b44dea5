// The plots, from the numbers in #view, drawn by Observable Plot. Each answers the question in its heading.
"use strict";

(() => {
  const host = document.getElementById("plots");
  if (!host) {
    document.documentElement.dataset.drawn = "true";
    return;
  }
  const view = JSON.parse(document.getElementById("view").textContent);
  const colour = { CLEARS: "var(--good)", UNDECIDED: "var(--open)", FAILS: "var(--bad)" };
  const symbol = { CLEARS: "circle", UNDECIDED: "triangle", FAILS: "diamond" };
  const parts = { hardware: "var(--hardware)", electricity: "var(--electricity)", "idle power": "var(--idle)" };
  const unique = (values) => [...new Set(values)];
  const short = (tier) => tier.replace(/ \(requantized from (.*)\)$/, "\n(from $1)");
  const format = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
  const number = (x) => format.format(x);
  const halo = { stroke: "var(--ground)", strokeWidth: 4, fill: "var(--ink)" };
  const drawings = [];

  // Adds a figure; `draw(width)` makes its plot and is called again when the width changes.
  function figure(title, caption, draw, { wide = false, key = [] } = {}) {
    const figure = document.createElement("figure");
    const text = document.createElement("figcaption");
    const heading = document.createElement("h3");
    const line = document.createElement("div");
    if (wide) figure.className = "wide";
    heading.textContent = title;
    line.textContent = caption;
    text.append(heading, line);
    if (key.length) {
      const list = document.createElement("ul");
      list.className = "key";
      for (const [glyph, name, css] of key) {
        const entry = document.createElement("li");
        const label = document.createElement("span");
        entry.className = css;
        label.textContent = ` ${name}`;
        entry.append(glyph, label);
        list.append(entry);
      }
      text.append(list);
    }
    figure.append(text);
    host.append(figure);
    drawings.push({ figure, draw, title, width: 0 });
  }

  function render(drawing) {
    const width = Math.round(drawing.figure.clientWidth);
    if (width === drawing.width || width < 100) return;
    drawing.width = width;
    drawing.figure.querySelector("svg")?.remove();
    drawing.figure.append(nameplate(drawing.draw(width), `${drawing.title} The tables on this page hold the numbers.`));
  }

  // One after the other, so that the page answers meanwhile.
  function redraw(place = 0) {
    if (place < drawings.length) {
      render(drawings[place]);
      setTimeout(redraw, 0, place + 1);
    } else {
      document.documentElement.dataset.drawn = "true";
      dispatchEvent(new Event("drawn"));
    }
  }
  window.addEventListener("beforeprint", () => drawings.forEach(render));

  // Room for the names beside horizontal bars.
  const margin = (tiers, width) => {
    const longest = Math.max(...tiers.flatMap((tier) => short(tier).split("\n")).map((line) => line.length));
    return Math.min(longest * 6.8 + 14, width * 0.42);
  };
  const base = (width, height) => ({ className: "plot", width, height, style: { fontSize: "12px" } });
  const band = (tiers) => ({ domain: tiers, axis: null, padding: 0.35 });
  const names = () => Plot.axisY({ label: null, tickFormat: short, tickSize: 0, lineHeight: 1.25 });
  const tip = (data, x, y) => Plot.tip(data, Plot.pointer({ x, y, title: "tip", fontSize: 12, maxRadius: 60 }));

  // Names near their dots, none of them over a dot or another name. Beside its dot a name stands where no other dot is as
  // near; further off a line leads to it. A name without such a place is left out: its tip has it.
  const beside = [[9, -11], [9, 13], [-9, -11], [-9, 13]];
  const apart = [26, 40, 56, 74].flatMap((far) => [16, -16, 0].flatMap((dx) => [[dx, -far], [dx, far]]));
  function placed(points, names, plot, { width, height, marginBottom }, reserved) {
    const [x, y] = ["x", "y"].map((axis) => plot.scale(axis));
    const dots = new Map(points.map((p) => [p, [x.apply(p.x), y.apply(p.y)]]));
    const taken = [...dots.values()].map(([left, top]) => [left - 7, top - 7, left + 7, top + 7]).concat(reserved);
    const gap = ([left, top], box) => Math.hypot(Math.max(box[0] - left, left - box[2], 0), Math.max(box[1] - top, top - box[3], 0));
    const meets = (box) => taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3]);
    const place = (p, text, [dx, dy], led) => {
      const [left, top] = dots.get(p);
      const long = text.length * (p.answer ? 7.4 : 6.9);
      const from = left + dx - (dx < 0 ? long : dx > 0 ? 0 : long / 2);
      const box = [from, top + dy - 8, from + long, top + dy + 8];
      if (from < 40 || from + long > width || box[1] < 8 || box[3] > height - marginBottom || meets(box)) return null;
      const others = points.filter((other) => other !== p).map((other) => dots.get(other));
      const end = [left + dx - 3 * Math.sign(dx), top + dy - (dx ? 0 : 9 * Math.sign(dy))];
      if (led) {
        if (others.some((other) => gap(other, box) < 16)) return null;
        const way = [0.2, 0.4, 0.6, 0.8, 1].map((t) => [left + (end[0] - left) * t, top + (end[1] - top) * t]);
        if (way.some((at) => taken.some((other, i) => dots.get(points[i]) !== dots.get(p) && gap(at, other) < 1))) return null;
      } else if (others.some((other) => gap(other, box) < gap([left, top], box) + 8)) return null;
      return { p, text, dx, dy, box, anchor: dx < 0 ? "end" : dx > 0 ? "start" : "middle", end: led ? [x.invert(end[0]), y.invert(end[1])] : null };
    };
    const first = [...points].sort((a, b) => b.answer - a.answer);
    return first.flatMap((p) => {
      const tries = names(p).flatMap((text) => [...beside.map((at) => [text, at, false]), ...apart.map((at) => [text, at, true])]);
      for (const [text, at, led] of tries) {
        const found = place(p, text, at, led);
        if (found) {
          taken.push(found.box);
          return [found];
        }
      }
      return [];
    });
  }

  for (const task of view.tasks.filter((task) => task.points.length)) {
    const points = task.points.map((p) => ({
      ...p, x: p.cost[0], x1: p.cost[1], x2: p.cost[2], y: p.rate[0], y1: p.rate[1], y2: p.rate[2],
    }));
    points.sort((a, b) => a.x - b.x);
    const low = Math.min(task.bar, ...points.map((p) => p.y1));
    const high = Math.max(task.bar, ...points.map((p) => p.y2));
    const pad = Math.max(0.02, (high - low) * 0.12);
    const spread = Math.max(...points.map((p) => p.x2)) / Math.min(...points.map((p) => Math.max(p.x1, 1e-12)));
    const front = points.filter((p) => p.pareto);
    figure(
      `Is the cheap tier good enough for ${task.name}?`,
      "Cost of 1,000 solved items against quality, each with its 95 % interval: further left is cheaper, further up is better.",
      (width) => {
        const marks = [
          Plot.ruleY([task.bar], { stroke: "var(--bad)", strokeDasharray: "7 4", strokeWidth: 1.5 }),
          Plot.text([task.bar], { y: (y) => y, frameAnchor: "right", text: (y) => `bar ${number(y * 100)} %`, dy: 9, ...halo, fill: "var(--bad)" }),
          Plot.line(front, { x: "x", y: "y", stroke: "var(--soft)", strokeDasharray: "2 3", curve: "step-after" }),
          Plot.ruleY(points, { y: "y", x1: "x1", x2: "x2", stroke: (p) => colour[p.verdict], strokeOpacity: 0.75 }),
          Plot.ruleX(points, { x: "x", y1: "y1", y2: "y2", stroke: (p) => colour[p.verdict], strokeOpacity: 0.75 }),
          Plot.dot(points, { x: "x", y: "y", r: (p) => (p.answer ? 7 : 5), fill: (p) => colour[p.verdict], symbol: "verdict", stroke: "var(--ground)" }),
        ];
        const options = {
          ...base(width, Math.min(460, Math.max(300, width * 0.5))),
          marginLeft: 48, marginBottom: 42, marginTop: 24, marginRight: 36,
          x: { type: spread > 6 ? "log" : "linear", label: "$ per 1,000 solved items →", grid: true, nice: true, ticks: width < 500 ? 4 : 8, tickFormat: (x) => number(x) },
          y: { domain: [Math.max(0, low - pad), Math.min(1, high + pad)], label: `↑ ${task.metric}`, grid: true, tickFormat: (y) => `${Math.round(y * 100)} %` },
          r: { type: "identity" },
          symbol: { domain: Object.keys(symbol), range: Object.values(symbol) },
        };
        const bare = Plot.plot({ ...options, marks });
        const names = (p) => unique([...(width < 500 ? [] : [p.tier]), short(p.tier).split("\n")[0]]).map((name) => name + (p.answer ? " ← cheapest" : ""));
        const right = width - options.marginRight;
        const barLabel = [right - 64, bare.scale("y").apply(task.bar), right, bare.scale("y").apply(task.bar) + 18];
        const labels = placed(points, names, bare, options, [barLabel]);
        return Plot.plot({
          ...options,
          x: { ...options.x, nice: false, domain: bare.scale("x").domain },
          marks: [
            Plot.link(labels.filter(({ end }) => end), { x1: ({ p }) => p.x, y1: ({ p }) => p.y, x2: ({ end }) => end[0], y2: ({ end }) => end[1], stroke: "var(--soft)", className: "leader" }),
            ...marks,
            ...labels.map(({ p, text, dx, dy, anchor }) => Plot.text([p], { x: "x", y: "y", text: () => text, dx, dy, textAnchor: anchor, ...halo, fontWeight: p.answer ? 700 : 400, className: "name" })),
            tip(points, "x", "y"),
          ],
        });
      },
      { wide: true, key: [["●", "clears the bar", "clears"], ["▲", "undecided", "undecided"], ["◆", "fails", "fails"], ["⋯", "no tier beats these in both (Pareto front)", ""]] },
    );
  }

  // One bar per tier with its interval and figure.
  const bars = (rows, width, label) => {
    const tiers = unique(rows.map((row) => row.tier));
    return Plot.plot({
      ...base(width, tiers.length * 38 + 46),
      marginLeft: margin(tiers, width), marginRight: 64, marginBottom: 38, marginTop: 6,
      x: { label, grid: true, zero: true, nice: true, ticks: width < 500 ? 4 : 6 }, y: band(tiers),
      marks: [
        names(),
        Plot.barX(rows, { x: (row) => row.rate[0], y: "tier", fill: "var(--accent)", fillOpacity: 0.75 }),
        Plot.ruleY(rows, { x1: (row) => row.rate[1], x2: (row) => row.rate[2], y: "tier", stroke: "var(--ink)", strokeWidth: 1.5 }),
        Plot.text(rows, { x: (row) => Math.max(row.rate[0], row.rate[2]), y: "tier", text: "shown", textAnchor: "start", dx: 6, fill: "var(--ink)" }),
        tip(rows, (row) => row.rate[0], "tier"),
        Plot.ruleX([0], { stroke: "var(--soft)" }),
      ],
    });
  };
  const plain = view.speed.filter((row) => row.depth === 0 && row.batch === 1);
  for (const test of unique(plain.map((row) => row.test))) {
    const rows = plain.filter((row) => row.test === test);
    const what = rows[0].decode ? "are tokens generated" : "is a prompt read";
    figure(`How fast ${what} (${test})?`, "Median tokens per second by quantization; the line is the 95 % interval.", (width) => bars(rows, width, "tok/s →"));
  }

  // Curves of decode speed over something that was measured at two values or more.
  const curves = (rows, over, width, label) => {
    const at = (tier) => rows.filter((row) => row.tier === tier).sort((a, b) => a[over] - b[over]);
    const tiers = unique(rows.map((row) => row.tier));
    const last = tiers.map((tier) => at(tier).at(-1));
    return Plot.plot({
      ...base(width, Math.max(260, width * 0.55)),
      marginLeft: 48, marginRight: Math.min(110, width * 0.25), marginBottom: 40, marginTop: 22,
      x: { label, grid: true, ticks: unique(rows.map((row) => row[over])).sort((a, b) => a - b), tickFormat: "d" },
      y: { label: "↑ tok/s", grid: true, zero: true, nice: true }, color: { domain: tiers, scheme: "observable10" },
      symbol: { domain: tiers },
      marks: [
        Plot.line(rows, { x: over, y: (row) => row.rate[0], z: "tier", stroke: "tier", sort: over }),
        Plot.ruleX(rows, { x: over, y1: (row) => row.rate[1], y2: (row) => row.rate[2], stroke: "tier" }),
        Plot.dot(rows, { x: over, y: (row) => row.rate[0], stroke: "tier", fill: "tier", symbol: "tier", r: 4 }),
        Plot.text(last, { x: over, y: (row) => row.rate[0], text: (row) => short(row.tier).split("\n")[0], textAnchor: "start", dx: 8, fill: "var(--ink)" }),
        tip(rows, over, (row) => row.rate[0]),
      ],
    });
  };
  const decode = view.speed.filter((row) => row.decode);
  const varied = (rows, over) => {
    const tiers = unique(rows.map((row) => row.tier)).filter((tier) => unique(rows.filter((row) => row.tier === tier).map((row) => row[over])).length > 1);
    return rows.filter((row) => tiers.includes(row.tier));
  };
  const deep = varied(decode.filter((row) => row.batch === 1), "depth");
  if (deep.length) {
    figure("How does decoding slow down with context?", "Tokens per second after as many tokens are in the cache.", (width) => curves(deep, "depth", width, "tokens in the context →"));
  }
  const batched = varied(decode.filter((row) => row.depth === 0), "batch");
  if (batched.length) {
    figure("What does decoding several sequences together bring?", "Tokens per second of all sequences together.", (width) => curves(batched, "batch", width, "sequences →"));
  }

  for (const test of unique(view.energy.map((row) => row.test))) {
    const rows = view.energy.filter((row) => row.test === test);
    const tiers = unique(rows.map((row) => row.tier));
    const known = rows.filter((row) => row.total !== null);
    const split = known.flatMap((row) => (row.marginal === null
      ? [{ tier: row.tier, part: "all", joules: row.total }]
      : [{ tier: row.tier, part: "above idle", joules: Math.min(row.marginal, row.total) }, { tier: row.tier, part: "idle", joules: Math.max(0, row.total - row.marginal) }]));
    const shade = { "above idle": "var(--electricity)", idle: "var(--idle)", all: "var(--electricity)" };
    const spans = rows.filter((row) => row.lo !== null && row.hi !== null);
    const trust = unique(rows.map((row) => row.trust)).join(", ");
    const estimated = known.length === 0;
    figure(
      `How much energy does a token take (${test})?`,
      estimated ? `Joules per token: an estimate, so only its range is drawn (trust: ${trust}).` : `Joules per token, gross, with its uncertainty (trust: ${trust}).`,
      (width) => Plot.plot({
        ...base(width, tiers.length * 38 + 46),
        marginLeft: margin(tiers, width), marginRight: 24, marginBottom: 38, marginTop: 6,
        x: { label: "J per token →", grid: true, zero: true, nice: true, ticks: width < 500 ? 4 : 6 }, y: band(tiers),
        marks: [
          names(),
          Plot.barX(split, { x: "joules", y: "tier", fill: (row) => shade[row.part], fillOpacity: 0.85 }),
          Plot.ruleY(spans, { x1: "lo", x2: "hi", y: "tier", stroke: estimated ? "var(--electricity)" : "var(--ink)", strokeWidth: estimated ? 8 : 1.5, strokeOpacity: estimated ? 0.6 : 1 }),
          tip(rows, (row) => row.total ?? row.hi, "tier"),
          Plot.ruleX([0], { stroke: "var(--soft)" }),
        ],
      }),
      { key: split.some((row) => row.part === "idle") ? [["■", "above idle power", "above"], ["■", "idle power of the machine", "idle"]] : [] },
    );
  }

  for (const direction of unique(view.cost.map((row) => row.direction))) {
    const rows = view.cost.filter((row) => row.direction === direction);
    const tiers = unique(rows.map((row) => row.tier));
    const used = Object.keys(parts).filter((part) => rows.some((row) => row.part === part));
    figure(
      `What is paid for in a million ${direction} tokens?`, "Dollars by part; the assumptions stand below.",
      (width) => Plot.plot({
        ...base(width, tiers.length * 38 + 46),
        marginLeft: margin(tiers, width), marginRight: 24, marginBottom: 38, marginTop: 6,
        x: { label: `$ per million ${direction} tokens →`, grid: true, zero: true, nice: true, ticks: width < 500 ? 4 : 6 }, y: band(tiers),
        marks: [
          names(),
          Plot.barX(rows, { x: "usd", y: "tier", fill: (row) => parts[row.part], order: (row) => used.indexOf(row.part) }),
          Plot.ruleX([0], { stroke: "var(--soft)" }),
        ],
      }),
      { key: used.map((part) => ["■", part, part.split(" ")[0]]) },
    );
  }

  for (const { task, tier, now, swings } of view.tornado) {
    const inputs = swings.map((swing) => swing.input);
    const rows = swings.flatMap(({ input, at_low, at_high }) => [
      { input, end: at_low, way: "halved" }, { input, end: at_high, way: "doubled" },
    ]);
    const shade = { halved: "var(--hardware)", doubled: "var(--electricity)" };
    figure(
      `What does the cost of ${task} depend on?`, `$ per 1,000 solved items on ${tier}, with one assumption halved and doubled.`,
      (width) => Plot.plot({
        ...base(width, inputs.length * 34 + 46),
        marginLeft: 84, marginRight: 28, marginBottom: 38, marginTop: 6,
        x: { label: "$ per 1,000 solved items →", grid: true, nice: true, ticks: width < 500 ? 3 : 5, tickFormat: (x) => number(x) },
        y: { domain: inputs, label: null, tickSize: 0, padding: 0.3 },
        marks: [
          Plot.barX(rows, { x1: now, x2: "end", y: "input", fill: (row) => shade[row.way], fillOpacity: 0.85 }),
          Plot.ruleX([now], { stroke: "var(--ink)" }),
        ],
      }),
      { key: [["■", "halved", "hardware"], ["■", "doubled", "electricity"]] },
    );
  }

  // Speeds alone can leave nothing to draw: one depth, one batch.
  if (!drawings.length) {
    host.closest("section").hidden = true;
    document.querySelector('a[href="#plots-section"]').parentElement.hidden = true;
  }
  redraw();
  let waiting;
  new ResizeObserver(() => {
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 120, 0);
  }).observe(host);
})();
