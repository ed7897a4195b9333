// Times in the viewer's zone, plots, and where the focus goes when a list grows. Without it every
// page says the same: times in UTC, figures in tables, lists by links.

const zoned = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const ofThisYear = new Intl.DateTimeFormat(undefined, {
  month: "short", day: "numeric", hour: "numeric", minute: "2-digit",
});

function showTimes(root) {
  const times = [...root.querySelectorAll("time")];
  if (root.matches && root.matches("time")) times.push(root);
  for (const time of times) {
    const at = new Date(time.dateTime);
    const format = at.getFullYear() === new Date().getFullYear() ? ofThisYear : zoned;
    time.textContent = format.format(at);
  }
}

function colourOf(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Times of several checkpoints, or of whatever has a name, as the columns that uPlot draws: times, then a column for each.
function columnsOf(points) {
  const nameOf = (point) => point.name ?? point.checkpoint;
  const names = [...new Set(points.map(nameOf))];
  const times = [...new Set(points.map((point) => Date.parse(point.at) / 1000))].sort((a, b) => a - b);
  const place = new Map(times.map((time, index) => [time, index]));
  const columns = names.map(() => times.map(() => null));
  for (const point of points) {
    const row = place.get(Date.parse(point.at) / 1000);
    columns[names.indexOf(nameOf(point))][row] = point.rate;
  }
  return { names, data: [times, ...columns] };
}

async function draw(element) {
  const answer = await fetch(element.dataset.plot);
  if (!answer.ok) return;
  const { points } = await answer.json();
  const { names, data } = columnsOf(points.filter((point) => point.rate !== null));
  if (data[0].length < 2) return;
  const grid = { stroke: colourOf("--line"), width: 1 };
  const hues = ["--accent", "--soft", "--bad", "--good"];
  const hour = new Intl.DateTimeFormat(undefined, {
    month: "short", day: "numeric", hour: "2-digit", minute: "2-digit",
  });
  const moment = (seconds) => (seconds === null ? "–" : hour.format(new Date(1000 * seconds)));
  const share = (value) => (value === null ? "–" : `${(100 * value).toFixed(0)}%`);
  const plot = new uPlot({
    width: element.clientWidth,
    height: 220,
    padding: [8, 48, 0, 0],
    scales: { y: { range: [0, 1] } },
    axes: [
      { stroke: colourOf("--soft"), grid, space: 110, values: (_, values) => values.map(moment) },
      { stroke: colourOf("--soft"), grid, values: (_, values) => values.map(share) },
    ],
    series: [
      { label: "when", value: (_, value) => moment(value) },
      ...names.map((name, index) => ({
        label: name,
        stroke: colourOf(hues[index % hues.length]),
        dash: index < hues.length ? undefined : [6, 4],
        width: 2,
        spanGaps: true,
        value: (_, value) => share(value),
      })),
    ],
  }, data, element);
  new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: 220 })).observe(element);
}

showTimes(document);
new MutationObserver((changes) => {
  for (const change of changes) {
    for (const node of change.addedNodes) if (node.nodeType === Node.ELEMENT_NODE) showTimes(node);
  }
}).observe(document.getElementById("main"), { childList: true, subtree: true });

window.addEventListener("load", () => {
  for (const element of document.querySelectorAll("[data-plot]")) draw(element);
});

// What cannot be fetched is said beside what was clicked; without the script a page would say it.
function tellBeside(element, message) {
  let line = element.parentElement.querySelector(".failed");
  if (!line) {
    line = document.createElement("p");
    line.className = "failed bad";
    line.setAttribute("role", "alert");
    element.after(line);
  }
  line.textContent = message;
}

function messageOf(xhr) {
  try {
    return JSON.parse(xhr.responseText).error.message;
  } catch {
    const page = new DOMParser().parseFromString(xhr.responseText, "text/html");
    const said = page.querySelector("#main h1 + p");
    return said ? said.textContent : `The service answered ${xhr.status}.`;
  }
}

document.addEventListener("htmx:responseError", (event) => {
  tellBeside(event.detail.elt, messageOf(event.detail.xhr));
});
for (const name of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, (event) => tellBeside(event.detail.elt, "The service cannot be reached."));
}

// A stream that broke off is tried again by itself; until then what is shown is as of when it did.
document.addEventListener("htmx:sseError", async (event) => {
  const line = document.getElementById("stale");
  if (!line || !line.hidden) return;
  line.textContent = `Not live since ${new Intl.DateTimeFormat(undefined, { timeStyle: "short" }).format(new Date())}. `;
  line.hidden = false;
  const answer = await fetch(event.target.getAttribute("sse-connect"), { method: "HEAD", headers: { "hx-request": "true" } }).catch(() => null);
  if (!answer || answer.status !== 401 || line.hidden) return;
  const link = document.createElement("a");
  link.href = `/login?next=${encodeURIComponent(location.pathname + location.search)}`;
  link.textContent = "Sign in again";
  line.append(link);
});
document.addEventListener("htmx:sseOpen", () => {
  const line = document.getElementById("stale");
  if (line) line.hidden = true;
});

// "Older ..." is gone once it has been followed: go on with the first that it brought.
document.addEventListener("htmx:beforeSwap", (event) => {
  const more = event.detail.target;
  if (more.id !== "more") return;
  const last = more.previousElementSibling;
  document.addEventListener("htmx:afterSettle", () => {
    const first = last && last.nextElementSibling && last.nextElementSibling.querySelector("a");
    if (first) first.focus();
  }, { once: true });
});
