"use strict";

const GAP = 16;
const CAPTION = 46; // height of a caption and the space above it, as in the style
const MAX_FILTERS = 5;
const MAX_FILTER_VALUES = 60;
const OUTCOME = "Outcome";

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const grid = byId("grid");
const viewer = byId("viewer");
const stage = viewer.querySelector(".stage");
const thousands = (number) => number.toLocaleString("en");

const items = []; // rows of all pages so far, in order
const arrived = new Map(); // pages that came before their turn
const values = new Map(); // filter name → value → number of items
const tiles = new Map(); // place in `matches` → element
let matches = []; // items that search and filters let through
let chosen = new Map(); // filter name → value
let words = [];
let missing = 0; // pages that could not be had
let current = -1; // place in `matches` of the item in the large view
let layout = { columns: 1, width: 0, height: 0 };

/* Data: the first page is in this file; the others come in order, two at a time. */

let pagesRead = 0;
let pagesAsked = 1;

window.asyncdiffPage = (number, rows) => {
  arrived.set(number, rows);
  while (arrived.has(pagesRead + 1)) {
    pagesRead += 1;
    append(arrived.get(pagesRead));
    arrived.delete(pagesRead);
  }
};

function askForPage() {
  if (pagesAsked >= data.pages) return;
  pagesAsked += 1;
  const number = pagesAsked;
  const script = document.createElement("script");
  script.src = `page-${String(number).padStart(5, "0")}.js`;
  script.onload = askForPage;
  script.onerror = () => {
    missing += 1;
    window.asyncdiffPage(number, []);
    askForPage();
  };
  document.head.append(script);
}

function append(rows) {
  for (const row of rows) {
    row.filters = filtersOf(row);
    row.text = [row.prompt, row.id, row.lineId ?? "", row.seed].join("\n").toLowerCase();
    items.push(row);
    for (const [name, value] of row.filters) {
      if (!values.has(name)) values.set(name, new Map());
      const counted = values.get(name);
      counted.set(value, (counted.get(value) ?? 0) + 1);
    }
    if (isMatch(row)) matches.push(row);
  }
  showFilters();
  arrange();
  openFromAddress();
}

function filtersOf(row) {
  const filters = new Map([[OUTCOME, row.outcome ?? "Accepted"]]);
  for (const [name, value] of Object.entries(row.labels ?? {})) {
    if (value !== null && typeof value !== "object") filters.set(name, String(value));
  }
  return filters;
}

/* Search and filters. */

function isMatch(row) {
  for (const [name, value] of chosen) if (row.filters.get(name) !== value) return false;
  return words.every((word) => row.text.includes(word));
}

function search() {
  words = byId("query").value.toLowerCase().split(/\s+/).filter(Boolean);
  matches = items.filter(isMatch);
  clearTiles();
  window.scrollTo(0, Math.min(window.scrollY, byId("grid").offsetTop));
  arrange();
}

function showFilters() {
  const useful = [...values].filter(([, counted]) => counted.size > 1 && counted.size <= MAX_FILTER_VALUES);
  const selects = useful.slice(0, MAX_FILTERS).map(([name, counted]) => {
    const select = make("select", { ariaLabel: name });
    select.append(make("option", { value: "", textContent: `${name}: all` }));
    for (const [value, count] of [...counted].sort(([one], [other]) => one.localeCompare(other, "en", { numeric: true }))) {
      const option = make("option", { value: `=${value}`, textContent: `${name}: ${value} (${thousands(count)})` });
      option.selected = chosen.get(name) === value;
      select.append(option);
    }
    select.onchange = () => {
      if (select.value) chosen.set(name, select.value.slice(1));
      else chosen.delete(name);
      search();
    };
    return select;
  });
  if (!byId("filters").contains(document.activeElement)) byId("filters").replaceChildren(...selects);
}

/* The grid: only the rows in sight are in the document. */

function arrange() {
  const space = grid.clientWidth;
  const wanted = Math.min(Number(byId("size").value), (space - GAP) / 2);
  const columns = Math.max(1, Math.floor((space + GAP) / (wanted + GAP)));
  const width = (space - GAP * (columns - 1)) / columns;
  layout = { columns, width, height: width / aspect + CAPTION + GAP };
  grid.style.height = `${Math.ceil(matches.length / columns) * layout.height}px`;
  byId("empty").hidden = matches.length > 0;
  byId("empty").textContent = items.length ? "No item matches. Try fewer words." : "This job has no items.";
  byId("summary").textContent = summary();
  draw();
}

function summary() {
  const loading = pagesRead < data.pages ? ` · loading ${Math.round((100 * pagesRead) / data.pages)} %` : "";
  const lost = missing ? ` · ${missing} of ${data.pages} data files could not be loaded` : "";
  const all = matches.length === items.length;
  const count = all ? thousands(items.length) : `${thousands(matches.length)} of ${thousands(items.length)}`;
  return `${count} ${items.length === 1 ? "item" : "items"}${loading}${lost}`;
}

function draw() {
  const top = window.scrollY - grid.offsetTop;
  const first = Math.max(0, Math.floor(top / layout.height) - 1) * layout.columns;
  const last = Math.min(matches.length, (Math.ceil((top + window.innerHeight) / layout.height) + 1) * layout.columns);
  for (const [place, tile] of tiles) if (place < first || place >= last) removeTile(place, tile);
  for (let place = first; place < last; place += 1) {
    if (!tiles.has(place)) {
      tiles.set(place, makeTile(place));
      grid.append(tiles.get(place));
    }
    const style = tiles.get(place).style;
    const left = (place % layout.columns) * (layout.width + GAP);
    style.width = `${layout.width}px`;
    style.transform = `translate(${left}px, ${Math.floor(place / layout.columns) * layout.height}px)`;
  }
}

function makeTile(place) {
  const row = matches[place];
  const tile = make("button", { type: "button", className: `tile ${row.outcome ?? ""}`, title: row.prompt });
  tile.setAttribute("role", "listitem");
  const frame = make("span", { className: "frame" });
  frame.append(picture(row, false));
  const badge = row.outcome ? row.reason ?? row.outcome : kindOf(row) === "picture" ? "" : "Video";
  if (badge) frame.append(make("span", { className: "badge", textContent: badge }));
  tile.append(frame, make("span", { className: "caption", textContent: row.prompt || `Seed ${row.seed}` }));
  tile.onclick = () => open(place);
  return tile;
}

function removeTile(place, tile) {
  for (const media of tile.querySelectorAll("img, video")) media.removeAttribute("src"); // ends its download
  tile.remove();
  tiles.delete(place);
}

function clearTiles() {
  for (const [place, tile] of tiles) removeTile(place, tile);
}

/* Pictures, videos, folders of frames, and items that have none. */

function kindOf(row) {
  if (!row.link) return "none";
  if (row.picture) return "frames";
  return /\.(mp4|webm)$/.test(row.link) ? "video" : "picture";
}

function picture(row, large) {
  const kind = kindOf(row);
  if (kind === "none") return make("span", { className: "words", textContent: row.message || "No picture" });
  const media =
    kind === "video"
      ? make("video", { muted: true, loop: true, playsInline: true, preload: "metadata", src: row.link })
      : make("img", { alt: "", decoding: "async", loading: large ? "eager" : "lazy", src: row.picture ?? row.link });
  media.onerror = () => {
    if (media.hasAttribute("src")) media.replaceWith(make("span", { className: "words", textContent: "The file is not there" }));
  };
  if (kind === "video" && large) Object.assign(media, { controls: true, autoplay: true });
  if (kind === "video" && !large) {
    media.onmouseenter = () => media.play().catch(() => {});
    media.onmouseleave = () => media.pause();
  }
  return media;
}

function frameSlider(row, image) {
  const slider = make("input", { type: "range", min: 0, max: row.frames - 1, value: 0, ariaLabel: "Frame" });
  slider.oninput = () => {
    image.src = `${row.link}frame-${slider.value.padStart(5, "0")}.png`;
  };
  return slider;
}

/* The large view. */

function open(place) {
  if (place < 0 || place >= matches.length) return;
  current = place;
  const row = matches[place];
  const media = picture(row, true);
  media.classList.toggle("sharp", row.width < 256); // small pictures show their own pixels
  stage.replaceChildren(media);
  if (row.picture && row.frames > 1) stage.append(frameSlider(row, media));
  byId("place").textContent = `${thousands(place + 1)} of ${thousands(matches.length)}`;
  byId("prompt").textContent = row.prompt;
  byId("details").replaceChildren(...details(row));
  byId("open").hidden = !row.link || row.link.startsWith("data:"); // which browsers open in no tab of its own
  if (row.link) byId("open").href = row.picture ?? row.link;
  byId("previous").disabled = place === 0;
  byId("next").disabled = place === matches.length - 1;
  byId("copy").textContent = "Copy prompt";
  for (const near of [matches[place + 1], matches[place - 1]]) if (near && kindOf(near) === "picture") new Image().src = near.link;
  if (!viewer.open) {
    viewer.showModal();
    viewer.focus(); // else the first field takes the arrow keys
  }
  address(`#${row.id}`);
}

function details(row) {
  const facts = [
    ["Outcome", row.outcome],
    ["Reason", row.reason],
    ["Message", row.message],
    ["Seed", row.seed],
    ["Size", row.width && row.height ? `${row.width} × ${row.height}` : null],
    ["Frames", row.frames],
    ["Time", row.seconds === undefined ? null : `${row.seconds.toFixed(2)} s`],
    ["File", row.bytes === undefined ? null : fileSize(row.bytes)],
    ["Line id", row.lineId],
    ["Item", row.id],
  ];
  const report = Object.entries(row.report ?? {}).map(([name, value]) => [inWords(name), value]);
  return [facts, Object.entries(row.labels ?? {}), report].flatMap((group) => {
    const list = make("dl", {});
    for (const [name, value] of group) {
      if (value === undefined || value === null || value === "") continue;
      const words = typeof value === "object" ? JSON.stringify(value) : value;
      list.append(make("dt", { textContent: name }), make("dd", { textContent: words }));
    }
    return list.children.length ? list : [];
  });
}

function inWords(name) {
  const words = name.replace(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function fileSize(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function closed() {
  stage.replaceChildren();
  address(" ");
  focusTile(current);
  current = -1;
}

/* An item's address is #<id>, so that it can be sent to somebody. */

function address(hash) {
  try {
    history.replaceState(null, "", hash === " " ? location.pathname + location.search : hash);
  } catch {
    // Some browsers refuse it for files; the page works all the same.
  }
}

let asked = location.hash.slice(1);

function openFromAddress() {
  if (!asked) return;
  const place = matches.findIndex((row) => row.id === asked);
  if (place < 0) return;
  asked = "";
  open(place);
}

/* Keys, clicks, and the window. */

function make(name, properties) {
  return Object.assign(document.createElement(name), properties);
}

function placeOf(element) {
  for (const [place, tile] of tiles) if (tile === element) return place;
  return -1;
}

function stepFrom(place, key) {
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -layout.columns, ArrowDown: layout.columns };
  if (key === "Home") return 0;
  if (key === "End") return matches.length - 1;
  return key in steps ? place + steps[key] : -1;
}

function focusTile(place) {
  const row = Math.floor(place / layout.columns) * layout.height + grid.offsetTop;
  const above = byId("query").closest("search").offsetHeight; // it stays on top of the grid
  if (row < window.scrollY + above) window.scrollTo(0, row - above - GAP);
  if (row + layout.height > window.scrollY + window.innerHeight) window.scrollTo(0, row + layout.height - window.innerHeight);
  draw();
  tiles.get(place)?.focus({ preventScroll: true });
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, select, video");
  const here = viewer.open ? -1 : placeOf(event.target);
  const there = here < 0 ? -1 : stepFrom(here, event.key);
  if (viewer.open && !typing && event.key === "ArrowLeft") open(current - 1);
  else if (viewer.open && !typing && event.key === "ArrowRight") open(current + 1);
  else if (there >= 0 && there < matches.length) focusTile(there);
  else if (!viewer.open && !typing && event.key === "/") byId("query").focus();
  else return;
  event.preventDefault();
}

const aspect = (() => {
  const row = data.rows.find((one) => one.width && one.height);
  return row ? Math.min(1.8, Math.max(0.66, row.width / row.height)) : 1;
})();

let waiting = 0;
byId("query").oninput = () => {
  clearTimeout(waiting);
  waiting = setTimeout(search, 120);
};
byId("size").oninput = arrange;
byId("previous").onclick = () => open(current - 1);
byId("next").onclick = () => open(current + 1);
byId("close").onclick = () => viewer.close();
byId("copy").hidden = !navigator.clipboard;
byId("copy").onclick = async () => {
  try {
    await navigator.clipboard.writeText(matches[current].prompt);
    byId("copy").textContent = "Copied";
  } catch {
    byId("copy").textContent = "Not allowed here";
  }
};
viewer.onclose = closed;
document.addEventListener("keydown", onKey);
window.addEventListener("scroll", () => requestAnimationFrame(draw), { passive: true });
window.addEventListener("hashchange", () => {
  asked = location.hash.slice(1);
  openFromAddress();
});
document.documentElement.style.setProperty("--aspect", aspect);
document.querySelector(".controls").hidden = false;
new ResizeObserver(arrange).observe(grid);
window.asyncdiffPage(1, data.rows);
askForPage();
askForPage();
