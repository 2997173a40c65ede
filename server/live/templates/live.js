"use strict";
const EVERY = 2000;
const shown = {};
const byId = (id) => document.getElementById(id);

function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}
function bytes(count) {
  let value = count, unit = 0;
  const units = ["B", "kB", "MB", "GB", "TB"];
  while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit += 1; }
  return (unit ? Number(value.toPrecision(3)) : value) + " " + units[unit];
}
function span(seconds) {
  if (seconds < 60) return Math.max(0, Math.round(seconds)) + " s";
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return minutes + " min";
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return hours + " h " + String(minutes % 60).padStart(2, "0") + " min";
  return Math.round(hours / 24) + " days";
}
function moment(seconds, now) {
  const when = new Date(1000 * seconds), today = new Date(1000 * now);
  const clock = when.toLocaleTimeString("en-GB", {hour: "2-digit", minute: "2-digit"});
  if (when.toDateString() === today.toDateString()) return clock;
  return when.toLocaleDateString("en-GB", {day: "numeric", month: "short"}) + ", " + clock;
}
const number = (value) => value === null || value === undefined ? "\u2013" : value.toFixed(3);
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function table(heads, rows, numbers) {
  const cell = (tag, text, place) => el(tag, numbers.includes(place) ? {class: "number"} : {},
    ...(text instanceof Node ? [text] : [String(text)]));
  const head = el("tr", {}, ...heads.map((text, place) => {
    const made = cell("th", text, place);
    made.setAttribute("scope", "col");
    return made;
  }));
  const body = rows.map((row) => {
    const line = el("tr", {}, el("th", {scope: "row"}, row[0]));
    row.slice(1).forEach((text, place) => line.append(cell("td", text, place + 1)));
    return line;
  });
  const made = el("table", {class: "left"}, el("thead", {}, head), el("tbody", {}, ...body));
  return el("div", {class: "scroll", tabindex: "0", role: "region", "aria-label": heads[0]}, made);
}
function section(id, facts, draw) {
  const key = JSON.stringify(facts);
  if (shown[id] === key) return;
  shown[id] = key;
  const place = byId(id), content = draw();
  place.hidden = content === null;
  place.replaceChildren(...(content || []));
}
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
  const losses = training.loss.length ? ", now " + number(training.loss[training.loss.length - 1][1]) : "";
  return el("figure", {}, picture, el("figcaption", {}, capital(training.label) + losses));
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
    if (!losses.length) { parts.push(el("p", {}, "No hospital tells its loss.")); continue; }
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
function progress(run) {
  // 100 is kept for the end
  const percent = run.state === "finished" ? 100 : Math.min(99, Math.floor(100 * run.fraction));
  document.title = percent + " % \u2013 " + (run.study || run.run);
  byId("name").textContent = run.study || run.run;
  const begun = run.state === "not started" ? "" : ", begun " + moment(run.begun, run.now);
  byId("about").textContent = "Run " + run.run + begun;
  byId("percent").textContent = percent + " %";
  byId("state").textContent = capital(run.state);
  byId("state").className = "pill " + run.state.replace(" ", "-");
  byId("filled").style.width = percent + "%";
  byId("bar").setAttribute("aria-valuenow", percent);
  const stopped = run.state === "stopped" || run.state === "interrupted";
  byId("stopped").hidden = !stopped;
  byId("stopped").textContent = run.state === "stopped" ? "The run has stopped: " + run.message
    : "No program keeps this run going. To go on with it: fedlnm-server resume";
  const current = run.phase_list.find((phase) => phase.state === "now");
  let text = current ? capital(current.label) + " (phase " + run.number + " of " + run.phases + ")"
    : run.state === "finished" ? "All phases are done."
    : "Nothing has been asked of the hospitals yet. Images are prepared first, or hospitals still connect.";
  if (current && run.rounds) {
    const fold = run.variant.match(/^fold(\d+)$/);
    text += ", " + (fold ? "fold " + (Number(fold[1]) + 1) : run.variant + " training") + ": round "
      + run.round + " of " + run.rounds;
  }
  byId("phase").textContent = text;
}
function tiles(run) {
  const rows = [];
  if (run.state === "under way") {
    const left = run.seconds_left;
    rows.push(["Time left", left === null ? "not known yet" : "about " + span(left)]);
    if (left !== null) rows.push(["Estimated end", moment(run.now + left, run.now)]);
  }
  if (run.state === "finished") rows.push(["Finished", moment(run.last_event, run.now)]);
  if (run.state !== "not started" && run.last_event) {
    const until = run.state === "under way" ? run.now : run.last_event;
    rows.push(["Took so far", span(until - run.begun)]);
    rows.push(["Last news", span(run.now - run.last_event) + " ago"]);
  }
  if (run.rounds_planned) rows.push(["Rounds of networks", run.rounds_done + " of " + run.rounds_planned]);
  const sites = Object.values(run.sites), sum = (key) => sites.reduce((t, site) => t + site[key], 0);
  if (sites.length) rows.push(["Received from hospitals", bytes(sum("bytes_up"))],
    ["Sent to hospitals", bytes(sum("bytes_down"))]);
  if (run.restarts) rows.push(["Programs started again", run.restarts]);
  if (run.state === "finished") rows[1][0] = "Took";
  byId("tiles").replaceChildren(...rows.map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))));
}
function waiting(run) {
  const late = Object.entries(run.sites).filter(([, site]) => site.waited_for_since !== null);
  if (!late.length || run.state !== "under way") return null;
  return [el("h2", {}, "Waiting for"), table(["Hospital", "For", "Why"], late.map(([name, site]) =>
    [name, span(run.now - site.waited_for_since), site.why || "not known"]), [1])];
}
function sites(run) {
  const rows = Object.entries(run.sites).map(([name, site]) => [
    name, site.enrolled ? "joined" : "not yet here", run.connections[name] || "",
    site.last_contact === null ? "\u2013" : span(run.now - site.last_contact) + " ago",
    bytes(site.bytes_up), bytes(site.bytes_down)]);
  if (!rows.length) return [el("h2", {}, "Hospitals"), el("p", {}, "None is known yet.")];
  const online = Object.keys(run.connections).length > 0;
  const heads = ["Hospital", "In this run", "Connection", "Last reply", "Received from it", "Sent to it"];
  const cut = (row) => online ? row : row.filter((_, place) => place !== 2);
  return [el("h2", {}, "Hospitals"), table(cut(heads), rows.map(cut), online ? [3, 4, 5] : [2, 3, 4])];
}
function refusals(run) {
  if (!run.refusals.length) return null;
  return [el("h2", {}, "What hospitals held back"),
    el("p", {}, "A disclosure rule of the hospital refused these releases."),
    table(["Hospital", "Patients", "Rule", "Threshold"], run.refusals.map((row) =>
      [row.site, row.subset, row.rule, row.threshold === null ? "\u2013" : row.threshold]), [3])];
}
function performance(run) {
  if (!run.performance.length) {
    if (!run.stackers.length) return null;
    return [el("h2", {}, "Area under the ROC curve (AUC)"),
      el("p", {}, "Of the stackers, cross-validated. The models' follow when the run is finished."),
      table(["Stacker", "AUC"], run.stackers.map((row) => [row.label, number(row.auc)]), [1])];
  }
  const sets = [...new Set(run.performance.map((row) => row.set))];
  const models = [...new Set(run.performance.map((row) => row.model))];
  const find = (model, set) => run.performance.find((row) => row.model === model && row.set === set);
  const cell = (row) => !row ? "" : el("span", {}, number(row.auc),
    row.ci_low === null ? null : el("small", {}, " (" + number(row.ci_low) + "\u2013" + number(row.ci_high) + ")"));
  const size = (set) => {
    const n = run.performance.find((row) => row.set === set).n;
    return set + " (n = " + (n === null ? "withheld" : n) + ")";
  };
  return [el("h2", {}, "Area under the ROC curve (AUC)"),
    el("p", {}, "With 95 % confidence intervals; on the training set out-of-fold."),
    table(["Model", ...sets.map(size)], models.map((model) =>
      [model, ...sets.map((set) => cell(find(model, set)))]), sets.map((_, place) => place + 1))];
}
function phases(run) {
  if (!run.phase_list.length) return null;
  const marks = {done: "\u2713", now: "\u25B6", ahead: "\u25CB"};
  return [el("h2", {}, "Phases"), el("ol", {class: "steps"}, ...run.phase_list.map((phase) =>
    el("li", {class: phase.state}, el("span", {class: "mark", "aria-label": phase.state}, marks[phase.state]),
      el("span", {}, capital(phase.label)),
      el("span", {class: "took"}, phase.seconds === null ? "" : span(phase.seconds)))))];
}
function references(run) {
  if (!run.references.length) return null;
  return [el("h2", {}, "Runs for comparison"), table(["Run", "State", "Done"], run.references.map((row) =>
    [row.label, row.state, Math.floor(100 * row.fraction) + " %"]), [2])];
}
function log(run) {
  if (!run.log.length) return null;
  return [el("h2", {}, "Last events"), table(["When", "What"], run.log.map((line) =>
    [new Date(1000 * line.time).toLocaleTimeString("en-GB"), line.text]), [])];
}
function draw(run) {
  progress(run);
  tiles(run);
  const minute = Math.floor(run.now / 2);  // what says "ago" is drawn anew
  section("waiting", [run.sites, run.state, minute], () => waiting(run));
  section("sites", [run.sites, run.connections, minute], () => sites(run));
  section("refusals", run.refusals, () => refusals(run));
  section("performance", [run.performance, run.stackers], () => performance(run));
  section("curves", run.curves, () => curves(run));
  section("phases", run.phase_list, () => phases(run));
  section("references", run.references, () => references(run));
  section("log", run.log, () => log(run));
}
let seen = null;
async function ask() {
  const lost = byId("lost");
  try {
    const answer = await fetch("/status.json", {cache: "no-store"});
    if (!answer.ok) throw new Error(await answer.text());
    const run = await answer.json();
    draw(run);
    seen = new Date();
    lost.hidden = true;
  } catch (error) {
    lost.textContent = (seen ? "No news since " + seen.toLocaleTimeString("en-GB") + ". " : "")
      + "Does fedlnm-server status --web still run? (" + error.message + ")";
    lost.hidden = false;
  }
  setTimeout(ask, EVERY);
}
ask();
