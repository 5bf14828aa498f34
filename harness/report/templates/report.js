// Zoom on the axis of time, tooltips, and the list of events. The page says everything without it.
(() => {
  "use strict";
  // Tests, and people who look at the page's source, can tell whether it ran: data-drawn, or data-error.
  addEventListener("error", event => { document.body.dataset.error = event.message; });
  const chart = document.getElementById("timeline"), list = document.querySelector(".lines");
  const plot = chart && chart.querySelector("svg.plot");
  const zoom = document.querySelector(".zoom");
  if (!plot || !zoom) return;
  const data = JSON.parse(document.getElementById("data").textContent);
  const left = Number(chart.dataset.left), width = Number(chart.dataset.width), duration = Number(chart.dataset.duration);
  const height = plot.viewBox.baseVal.height, ticks = document.getElementById("ticks"), axis = Number(ticks.dataset.top);
  const labels = [...chart.querySelectorAll("text[data-t]")], character = 6.3, spanMin = 0.2;
  const svg = "http://www.w3.org/2000/svg";
  let from = 0, until = duration, frame = 0;

  const x = time => left + (time - from) / (until - from) * width;
  const shorten = (text, room) => text.length <= room ? text : room < 1 ? "" : text.slice(0, Math.max(room - 1, 1)) + "…";
  const roundUp = value => {
    const power = 10 ** Math.floor(Math.log10(value));
    return power * ([1, 2, 5].find(one => value / power <= one + 1e-9) ?? 10);
  };
  const axisEnd = value => {
    if (value <= 0) return 1;
    const power = 10 ** Math.floor(Math.log10(value));
    return power * ([1, 1.2, 1.5, 2, 2.4, 3, 4, 5, 6, 8].find(one => value / power <= one + 1e-9) ?? 10);
  };
  const short = number => String(Math.round(number * 100) / 100);
  const element = (name, attributes, text) => {
    const made = document.createElementNS(svg, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    if (text) made.textContent = text;
    return made;
  };

  // Requests: flat lists of differences become arrays of times.
  const dotsMax = 500, binsAim = 220, classes = data.classes.length;
  const panels = data.panels.map((panel, number) => {
    const count = panel.single.length / 3;
    const sent = new Float64Array(count), took = new Float64Array(count), who = new Uint32Array(count);
    let at = 0, longest = 0;
    for (let index = 0; index < count; index++) {
      at += panel.single[3 * index];
      sent[index] = at / 1000;
      took[index] = panel.single[3 * index + 1] / 1000;
      who[index] = panel.single[3 * index + 2];
      longest = Math.max(longest, took[index]);
    }
    const bins = [];
    for (let place = 0, index = 0; place < panel.bins.length; place += classes + 1) {
      index += panel.bins[place];
      bins.push({ at: index * data.width, counts: panel.bins.slice(place + 1, place + 1 + classes) });
    }
    const group = chart.querySelector(`g.panel[data-panel="${number}"]`);
    const top = Number(group.dataset.top), tall = Number(group.dataset.height), errors = Number(group.dataset.errors);
    const values = [...chart.querySelectorAll(`text.value[data-panel="${number}"]`)];
    const unit = chart.querySelector(`text.unit[data-panel="${number}"]`);
    return { client: panel.client, sent, took, who, longest, bins, group, values, unit, top, tall, errors, base: top + tall, shown: null };
  });
  const firstAt = (times, time) => {
    let low = 0, high = times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (times[middle] < time) low = middle + 1; else high = middle;
    }
    return low;
  };
  const isCovered = () => data.complete || data.covered.some(([start, end]) => start <= from && until <= end);

  function collect(panel, covered) {
    // Bins in the window, as wide as can be told apart, and wide enough that chance is not all that they show.
    const counts = [], telling = Math.max((until - from) / binsAim, Math.min(50, (until - from) / 40));
    const wide = covered ? roundUp(telling) : data.width * Math.max(1, Math.ceil((until - from) / binsAim / data.width));
    const origin = Math.floor(from / wide) * wide;
    const add = (at, class_, count) => {
      const index = Math.floor((at - origin) / wide + 1e-6);
      (counts[index] ??= new Array(classes).fill(0))[class_] += count;
    };
    if (covered) {
      const end = firstAt(panel.sent, until + wide);
      for (let index = firstAt(panel.sent, origin); index < end; index++) add(panel.sent[index], data.who[panel.who[index]][1], 1);
    } else {
      for (const bin of panel.bins) {
        if (bin.at < origin || bin.at > until) continue;
        bin.counts.forEach((count, class_) => count && add(bin.at, class_, count));
      }
    }
    return { counts, wide, origin };
  }
  function drawBins(panel, covered) {
    const { counts, wide, origin } = collect(panel, covered);
    let peak = 0;
    counts.forEach(bin => peak = Math.max(peak, bin.reduce((sum, count) => sum + count, 0)));
    peak = axisEnd(peak / wide * 1000);
    const scale = panel.tall / peak * 1000 / wide, layers = new Array(classes).fill("");
    let ticks = "";
    counts.forEach((bin, index) => {
      let low = 0;
      const start = origin + index * wide;
      bin.forEach((count, class_) => {
        if (!count) return;
        const tall = count * scale;
        layers[class_] += `M${start} ${panel.base - low}v${-tall}h${wide}v${tall}z`;
        low += tall;
      });
      if (bin[classes - 1]) ticks += `M${start + wide / 2} ${panel.base + 2}v${panel.errors - 2}`;
    });
    panel.group.replaceChildren(...layers.map((d, class_) => element("path", { class: "area " + data.classes[class_], d })),
      element("path", { class: "error-tick", d: ticks }));
    for (const value of panel.values) value.textContent = short(peak * Number(value.dataset.part));
    panel.unit.textContent = "requests/s";
    panel.shown = { counts, wide, origin };
  }
  function drawDots(panel, start, end) {
    // One line for each request from sending to answer; neighbours take turns in rows.
    const rows = 12, gap = (panel.tall - 8) / (rows - 1), lines = new Array(classes).fill("");
    let ticks = "";
    for (let index = start; index < end; index++) {
      const class_ = data.who[panel.who[index]][1], y = panel.top + 4 + index % rows * gap;
      lines[class_] += `M${panel.sent[index]} ${y}h${Math.max(panel.took[index], 1e-6)}`;
      if (class_ === classes - 1) ticks += `M${panel.sent[index]} ${panel.base + 2}v${panel.errors - 2}`;
    }
    panel.group.replaceChildren(...lines.map((d, class_) => element("path", { class: "dot " + data.classes[class_], d })),
      element("path", { class: "error-tick", d: ticks }));
    for (const value of panel.values) value.textContent = "";
    panel.unit.textContent = "each request";
    panel.shown = { start, end, rows, gap };
  }
  function drawPanels() {
    const covered = isCovered();
    for (const panel of panels) {
      const start = firstAt(panel.sent, from - panel.longest), end = firstAt(panel.sent, until);
      if (covered && end - start <= dotsMax) drawDots(panel, start, end); else drawBins(panel, covered);
    }
  }
  function panelTip(panel, time, y) {
    const shown = panel.shown;
    if (!shown) return "";
    if (shown.counts) {
      const index = Math.floor((time - shown.origin) / shown.wide), bin = shown.counts[index];
      if (!bin) return "";
      const start = shown.origin + index * shown.wide, digits = shown.wide < 100 ? 3 : 2;
      const parts = bin.map((count, class_) => count && `${count} ${class_ < classes - 1 ? "by " : ""}${data.names[class_]}`).filter(Boolean);
      return `clients of ${panel.client}, ${(start / 1000).toFixed(digits)} to ${((start + shown.wide) / 1000).toFixed(digits)} s\n${parts.join(", ")}`;
    }
    let best = -1, distance = 12;
    for (let index = shown.start; index < shown.end; index++) {
      const away = Math.max(panel.sent[index] - time, time - panel.sent[index] - panel.took[index], 0) / (until - from) * width;
      const total = away + Math.abs(panel.top + 4 + index % shown.rows * shown.gap - y);
      if (total < distance) { distance = total; best = index; }
    }
    if (best < 0) return "";
    return `client of ${panel.client} at ${(panel.sent[best] / 1000).toFixed(4)} s: ${data.who[panel.who[best]][0]} after ${panel.took[best].toFixed(2)} ms`;
  }

  function drawTicks() {
    const step = roundUp((until - from) * 90 / width);
    const digits = Math.max(0, -Math.floor(Math.log10(step / 1000) + 1e-9));
    ticks.replaceChildren();
    for (let index = Math.ceil(from / step); index * step <= until; index++) {
      const at = x(index * step);
      ticks.append(element("path", { class: "line", d: `M${at} ${axis}v5` }));
      ticks.append(element("text", { class: "tick", x: at, y: axis + 18 }, (index * step / 1000).toFixed(digits) + " s"));
    }
  }
  function drawLabels() {
    for (const label of labels) {
      const values = label.dataset, time = Number(values.t), span = Number(values.span);
      const start = values.clip ? time : time - span / 2, end = start + span;
      const visibleFrom = Math.max(start, from), visibleUntil = Math.min(end, until);
      const roomUntil = values.next ? Math.min(Number(values.next), until) : visibleUntil;
      const room = Math.floor((x(roomUntil) - x(visibleFrom)) / character);
      label.style.display = visibleUntil <= visibleFrom ? "none" : "";
      if (values.clip) {
        label.setAttribute("x", x(visibleFrom) + Number(values.dx));
        label.textContent = shorten(values.clip, Math.max(room - 1, 1));
      } else {
        label.setAttribute("x", x((visibleFrom + visibleUntil) / 2));
        label.textContent = values.long.length < room ? values.long : values.short;
      }
    }
  }

  // The list shows what lies in the window and passes the filters.
  const rows = list ? [...list.children].map(row => ({
    row, at: Number(row.dataset.t), kind: row.classList[0], source: row.children[1].textContent,
    text: (row.children[1].textContent + " " + row.children[2].textContent).toLowerCase(), hidden: false,
  })) : [];
  const filter = document.querySelector(".filter"), shownCount = document.getElementById("shown");
  const kinds = filter ? [...filter.querySelectorAll("input[data-kind]")] : [];
  const search = filter && filter.querySelector("input[type=search]"), source = filter && filter.querySelector("select");
  function drawList() {
    if (!rows.length) return;
    const off = new Set(kinds.filter(kind => !kind.checked).map(kind => kind.dataset.kind));
    const words = search.value.toLowerCase(), only = source.value;
    let shown = 0;
    for (const one of rows) {
      const hidden = one.at < from || one.at > until || off.has(one.kind) || (only !== "" && one.source !== only)
        || (words !== "" && !one.text.includes(words));
      if (hidden !== one.hidden) one.row.hidden = one.hidden = hidden;
      if (!hidden) shown++;
    }
    shownCount.textContent = `${shown} of ${rows.length} lines`;
  }
  function lead(row) {
    const one = rows.find(one => one.row === row);
    if (!one) return;
    for (const kind of kinds) if (kind.dataset.kind === one.kind) kind.checked = true;
    if (source.value !== one.source) source.value = "";
    if (!one.text.includes(search.value.toLowerCase())) search.value = "";
    drawList();
    list.querySelector(".hit")?.classList.remove("hit");
    row.classList.add("hit");
    list.scrollTop = row.offsetTop - list.offsetTop - list.clientHeight / 2;
    document.getElementById("happenings").scrollIntoView({ block: "nearest" });
  }
  if (filter) {
    filter.addEventListener("input", drawList);
    list.addEventListener("click", event => {
      const row = event.target.closest("time")?.parentElement;
      if (!row) return;
      const at = Number(row.dataset.t), span = Math.min(until - from, Math.max(200, (until - from) / 4));
      show(at - span / 2, at + span / 2);
      lead(row);
    });
    filter.hidden = false;
  }

  const seconds = time => String(Math.round(time * 1000) / 1e6);
  function remember() {
    const whole = from <= 0 && until >= duration;
    const address = whole ? location.pathname + location.search : `#t=${seconds(from)}-${seconds(until)}`;
    // A page that was opened from a place without history, such as a preview, may not have one.
    try { history.replaceState(null, "", address); } catch { return; }
  }
  function draw() {
    frame = 0;
    plot.setAttribute("viewBox", `${from} 0 ${until - from} ${height}`);
    drawTicks();
    drawLabels();
    drawPanels();
    drawList();
    const digits = until - from < 1000 ? 4 : 2;
    document.getElementById("window").textContent = `${(from / 1000).toFixed(digits)} to ${(until / 1000).toFixed(digits)} s`;
    document.body.dataset.drawn = `${seconds(from)}-${seconds(until)}`;
  }
  function show(start, end, keep = true) {
    const span = Math.min(Math.max(end - start, spanMin), duration);
    from = Math.min(Math.max(start, 0), duration - span);
    until = from + span;
    if (keep) remember();
    if (!frame) frame = requestAnimationFrame(draw);
  }
  function scale(factor, centre = (from + until) / 2) {
    show(centre - (centre - from) * factor, centre + (until - centre) * factor);
  }
  const move = part => show(from + (until - from) * part, until + (until - from) * part);
  const acts = { in: () => scale(0.5), out: () => scale(2), all: () => show(0, duration), left: () => move(-1 / 3), right: () => move(1 / 3) };
  zoom.addEventListener("click", event => acts[event.target.dataset.zoom]?.());
  const keys = { "+": acts.in, "=": acts.in, "-": acts.out, "0": acts.all, Home: acts.all, ArrowLeft: acts.left, ArrowRight: acts.right };
  chart.addEventListener("keydown", event => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });

  // Places of the pointer: pixels of the drawing, and times.
  const place = event => {
    const box = chart.getBoundingClientRect(), ratio = chart.viewBox.baseVal.width / box.width;
    return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
  };
  const time = event => Math.min(Math.max(from + (place(event).x - left) / width * (until - from), from), until);
  let drag = null, moved = false;
  chart.addEventListener("pointerdown", event => {
    if (event.button !== 0 || event.pointerType === "touch" || place(event).x < left) return;
    drag = { start: time(event), from, until, x: place(event).x, select: event.shiftKey, box: null };
    moved = false;
  });
  chart.addEventListener("dragstart", event => event.preventDefault());
  addEventListener("pointermove", event => {
    if (!drag) return;
    const pixels = place(event).x - drag.x;
    if (!moved && Math.abs(pixels) < 5) return;
    moved = true;
    tip.hidden = true;
    if (!drag.select) {
      chart.classList.add("moving");
      const by = pixels / width * (drag.until - drag.from);
      show(drag.from - by, drag.until - by);
      return;
    }
    drag.box ??= plot.appendChild(element("rect", { class: "selection", y: 0, height: axis }));
    const now = time(event);
    drag.box.setAttribute("x", Math.min(drag.start, now));
    drag.box.setAttribute("width", Math.abs(now - drag.start));
  });
  addEventListener("pointerup", event => {
    if (!drag) return;
    const ended = drag, now = time(event);
    drag = null;
    chart.classList.remove("moving");
    if (!ended.box) return;
    ended.box.remove();
    show(Math.min(ended.start, now), Math.max(ended.start, now));
  });
  chart.addEventListener("click", event => {
    const link = event.target.closest("a[href]"), dragged = moved;
    moved = false;
    if (dragged) { event.preventDefault(); return; }
    const row = link && link.getAttribute("href").startsWith("#line-") && document.querySelector(link.getAttribute("href"));
    if (row) { event.preventDefault(); lead(row); return; }
    // A band of a step leads to the step's table only with its name: a click elsewhere gives the chart the focus.
    if (link && place(event).y > 24) { event.preventDefault(); chart.focus({ preventScroll: true }); }
  }, true);
  chart.addEventListener("dblclick", acts.all);
  chart.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey && document.activeElement !== chart) return;
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) move(event.deltaX / 1000);
    else scale(event.deltaY > 0 ? 1.25 : 0.8, time(event));
  }, { passive: false });

  // Tooltips at once, and of what is drawn from data too. Titles would show a second one.
  const tip = document.body.appendChild(Object.assign(document.createElement("div"), { id: "tip", hidden: true }));
  for (const title of chart.querySelectorAll("title")) {
    title.parentElement.dataset.tip = title.textContent;
    title.remove();
  }
  const cursor = chart.appendChild(element("path", { class: "cursor", d: "" }));
  chart.addEventListener("pointermove", event => {
    if (drag && moved) return;
    const at = place(event), now = time(event), inside = at.x >= left;
    cursor.setAttribute("d", inside ? `M${at.x} 24V${axis}` : "");
    const panel = inside && panels.find(panel => at.y >= panel.top && at.y <= panel.base + panel.errors);
    const marked = event.target.closest("[data-tip]");
    const band = marked && marked.classList.contains("band");
    const text = (panel && (!marked || band) && panelTip(panel, now, at.y)) || (marked && marked.dataset.tip) || "";
    tip.hidden = !inside;
    tip.textContent = `${(now / 1000).toFixed(until - from < 1000 ? 4 : 3)} s${text ? "\n" + text : ""}`;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top = (event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 12 : event.clientY + 18) + "px";
  });
  chart.addEventListener("pointerleave", () => { tip.hidden = true; cursor.setAttribute("d", ""); });

  function follow() {
    const found = location.hash.match(/^#t=([\d.]+)-([\d.]+)$/);
    if (found) show(Number(found[1]) * 1000, Number(found[2]) * 1000, false);
    return Boolean(found);
  }
  addEventListener("hashchange", follow);
  document.documentElement.classList.add("live");
  document.querySelector(".hint").hidden = false;
  zoom.hidden = false;
  if (!follow()) show(0, duration, false);
})();
