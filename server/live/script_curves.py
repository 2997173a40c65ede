"""The part of the live page's script that draws loss curves: one small panel a training."""

CURVES = """\
const BOX = {width: 230, height: 150, left: 46, right: 8, top: 8, bottom: 26};

function svg(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
function ticks(low, high) {
  const step = 10 ** Math.floor(Math.log10(high - low));
  const width = [0.2, 0.5, 1].map((part) => part * step).find((one) => (high - low) / one <= 4.5) || step;
  const found = [];
  for (let value = Math.ceil(low / width); value <= high / width + 1e-9; value += 1)
    found.push(Number((value * width).toPrecision(6)));
  return found;
}
function line(points, kind, x, y) {
  const path = points.map(([round, loss]) => x(round).toFixed(1) + "," + y(loss).toFixed(1));
  const parts = [svg("polyline", {class: kind, points: path.join(" ")})];
  if (points.length) {
    const [round, loss] = points[points.length - 1];
    parts.push(svg("circle", {class: "dot " + kind, cx: x(round), cy: y(loss), r: 3}));
  }
  return parts;
}
function panel(training, range) {
  const most = Math.max(2, training.rounds);
  const x = (round) => BOX.left + (BOX.width - BOX.left - BOX.right) * (round - 1) / (most - 1);
  const y = (loss) => BOX.top + (BOX.height - BOX.top - BOX.bottom) * (range[1] - loss) / (range[1] - range[0]);
  const bottom = BOX.height - BOX.bottom, right = BOX.width - BOX.right;
  const picture = svg("svg", {viewBox: "0 0 " + BOX.width + " " + BOX.height, role: "img",
    "aria-label": "Loss by round, " + training.label});
  for (const value of ticks(...range)) picture.append(
    svg("line", {class: "grid", x1: BOX.left, x2: right, y1: y(value), y2: y(value)}),
    svg("text", {x: BOX.left - 5, y: y(value) + 4, "text-anchor": "end"}, String(value)));
  picture.append(svg("path", {class: "axis", d: "M" + BOX.left + " " + BOX.top + "V" + bottom + "H" + right}));
  picture.append(svg("text", {x: BOX.left, y: bottom + 15, "text-anchor": "middle"}, "1"),
    svg("text", {x: right, y: bottom + 15, "text-anchor": "end"}, most + " rounds"));
  picture.append(...line(training.loss, "train", x, y), ...line(training.held_out_loss, "held", x, y));
  const told = training.loss.length ? ", now " + number(training.loss[training.loss.length - 1][1]) : "";
  return el("figure", {}, picture, el("figcaption", {}, capital(training.label) + told));
}
function key(kind, text) {
  const sample = svg("svg", {viewBox: "0 0 34 10", "aria-hidden": "true"},
    svg("line", {class: kind, x1: 0, x2: 34, y1: 5, y2: 5}));
  return el("span", {}, sample, text);
}
function curves(run) {
  if (!run.curves.length) return null;
  const parts = [el("h2", {}, "How the networks learn")];
  for (const one of run.curves) {
    const all = one.trainings.flatMap((training) => [...training.loss, ...training.held_out_loss]);
    const losses = all.map((point) => point[1]);
    parts.push(el("h3", {}, one.network));
    if (!losses.length) { parts.push(el("p", {}, "No site tells its loss.")); continue; }
    const held = one.trainings.some((training) => training.held_out_loss.length);
    parts.push(el("p", {class: "key"}, key("train", "loss on the patients trained on"),
      ...(held ? [key("held", "loss on the patients held out")] : [])));
    const low = Math.min(...losses), high = Math.max(...losses);
    const margin = Math.max(0.05 * (high - low), 1e-3);
    parts.push(el("div", {class: "panels"},
      ...one.trainings.map((training) => panel(training, [low - margin, high + margin]))));
  }
  return parts;
}
"""
