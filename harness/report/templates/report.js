// Zoom on the axis of time. The page says everything without it.
(() => {
  "use strict";
  const chart = document.getElementById("timeline");
  const plot = chart && chart.querySelector("svg.plot");
  const zoom = document.querySelector(".zoom");
  if (!plot || !zoom) return;
  const left = Number(chart.dataset.left), width = Number(chart.dataset.width), duration = Number(chart.dataset.duration);
  const height = plot.viewBox.baseVal.height, ticks = document.getElementById("ticks");
  const axis = Number(ticks.querySelector("path")?.getAttribute("d").match(/ ([\d.]+)v/)?.[1] ?? height - 24);
  const labels = [...chart.querySelectorAll("text[data-t]")], character = 6.3, spanMin = 1;
  const svg = "http://www.w3.org/2000/svg";
  let from = 0, until = duration;

  const x = time => left + (time - from) / (until - from) * width;
  const shorten = (text, room) => text.length <= room ? text : room < 1 ? "" : text.slice(0, Math.max(room - 1, 1)) + "…";
  const element = (name, attributes, text) => {
    const made = document.createElementNS(svg, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    if (text) made.textContent = text;
    return made;
  };
  function drawTicks() {
    const raw = (until - from) * 90 / width, power = 10 ** Math.floor(Math.log10(raw));
    const step = power * ([1, 2, 5].find(one => raw / power <= one + 1e-9) ?? 10);
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
      const data = label.dataset, time = Number(data.t), span = Number(data.span);
      const start = data.clip ? time : time - span / 2, end = start + span;
      const visibleFrom = Math.max(start, from), visibleUntil = Math.min(end, until);
      const room = Math.floor((x(visibleUntil) - x(visibleFrom)) / character);
      label.style.display = visibleUntil <= visibleFrom ? "none" : "";
      if (data.clip) {
        label.setAttribute("x", x(visibleFrom) + Number(data.dx));
        label.textContent = shorten(data.clip, Math.max(room - 1, 1));
      } else {
        label.setAttribute("x", x((visibleFrom + visibleUntil) / 2));
        label.textContent = data.long.length < room ? data.long : data.short;
      }
    }
  }
  function show(start, end) {
    const span = Math.min(Math.max(end - start, spanMin), duration);
    from = Math.min(Math.max(start, 0), duration - span);
    until = from + span;
    plot.setAttribute("viewBox", `${from} 0 ${span} ${height}`);
    drawTicks();
    drawLabels();
  }
  function scale(factor, centre = (from + until) / 2) {
    const span = (until - from) * factor;
    show(centre - (centre - from) * factor, centre - (centre - from) * factor + span);
  }
  const acts = {
    in: () => scale(0.5), out: () => scale(2), all: () => show(0, duration),
    left: () => show(from - (until - from) / 3, until - (until - from) / 3),
    right: () => show(from + (until - from) / 3, until + (until - from) / 3),
  };
  zoom.addEventListener("click", event => acts[event.target.dataset.zoom]?.());

  const time = event => {
    const box = chart.getBoundingClientRect();
    const at = (event.clientX - box.left) * chart.viewBox.baseVal.width / box.width;
    return Math.min(Math.max(from + (at - left) / width * (until - from), from), until);
  };
  let start = null, selection = null, moved = false;
  chart.addEventListener("pointerdown", event => {
    if (event.button !== 0 || event.pointerType === "touch") return;
    start = time(event);
    moved = false;
  });
  chart.addEventListener("dragstart", event => event.preventDefault());
  addEventListener("pointermove", event => {
    if (start === null) return;
    const now = time(event);
    if (!selection) {
      if (Math.abs(x(now) - x(start)) < 5) return;
      selection = plot.appendChild(element("rect", { class: "selection", y: 0, height: axis }));
      moved = true;
    }
    selection.setAttribute("x", Math.min(start, now));
    selection.setAttribute("width", Math.abs(now - start));
  });
  addEventListener("pointerup", event => {
    if (start === null) return;
    const begun = start, now = time(event);
    start = null;
    if (!selection) return;
    selection.remove();
    selection = null;
    show(Math.min(begun, now), Math.max(begun, now));
  });
  // A drag that ends on a step's band must not follow its link.
  chart.addEventListener("click", event => {
    if (moved) event.preventDefault();
    moved = false;
  }, true);
  chart.addEventListener("dblclick", acts.all);
  chart.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    scale(event.deltaY > 0 ? 1.25 : 0.8, time(event));
  }, { passive: false });
  zoom.hidden = false;
})();
