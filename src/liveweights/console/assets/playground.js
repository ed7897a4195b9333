// Asks the API as any client does, shows answers as they come, one or two beside each other, and
// sends what was said of them.

import { curlOf, failure, pythonOf, read, requestOf } from "./asking.js";
import { showTokens } from "./tokens.js";

const byId = (id) => document.getElementById(id);
const session = randomId();
let turns = [];
let stopping = null;
let latest = null;  // what was asked last, and its answers

function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(8))]
    .map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Each side is a session of its own: what is said next is a word on the answer before it.
function headers(side) {
  const key = byId("key") && byId("key").value;
  return {
    "content-type": "application/json",
    "x-session-id": `playground-${session}${side ? "-beside" : ""}`,
    "x-surface": "playground",
    ...(key ? { authorization: `Bearer ${key}` } : {}),
  };
}

function readForm(model) {
  return {
    model,
    kind: byId("kind").value,
    temperature: Number(byId("temperature").value),
    most: Number(byId("most").value),
    tokens: byId("tokens").checked,
    system: byId("system").value.trim(),
    tools: byId("tools").value.trim(),
    schema: byId("schema").value.trim(),
  };
}

function clone(template) {
  return byId(template).content.firstElementChild.cloneNode(true);
}

// What was sent and not answered may be there already: said again, it has the id that it had.
async function report(one, feedback) {
  const said = JSON.stringify(feedback);
  one.unheard ||= new Map();
  const id = one.unheard.get(said) || `playground-${randomId()}`;
  one.unheard.set(said, id);
  const thanks = one.item.querySelector(".thanks");
  let response;
  try {
    response = await fetch("/v1/feedback", {
      method: "POST", headers: headers(one.side), body: JSON.stringify({ generation: one.generation, id, ...feedback }),
    });
  } catch {
    thanks.textContent = "The service cannot be reached: send it again.";
    return false;
  }
  one.unheard.delete(said);
  thanks.textContent = response.ok ? "Recorded." : await failure(response);
  return response.ok;
}

// What can be said of an answer once it is there.
function takeReactions(one) {
  const { item } = one;
  const find = (what) => item.querySelector(what);
  find(".seen").href = `/answers/${encodeURIComponent(one.generation)}`;
  for (const part of [".rate", ".better"]) find(part).hidden = false;
  for (const button of item.querySelectorAll("[data-signal]")) {
    const { signal, value } = button.dataset;
    button.addEventListener("click", () => report(one, { signal, value: Number(value) }));
  }
  find(".correct textarea").value = find(".edited textarea").value = one.text;
  find(".edit").addEventListener("click", () => {
    find(".edited").hidden = !find(".edited").hidden;
    if (!find(".edited").hidden) find(".edited textarea").focus();
  });
  const forms = {
    edited: ["edited", ".edited textarea"],
    correct: ["correction", ".correct textarea"],
    comment: ["comment", ".comment input"],
  };
  for (const [name, [signal, field]] of Object.entries(forms)) {
    find(`.${name}`).addEventListener("submit", async (event) => {
      event.preventDefault();
      const text = find(field).value;
      if (!await report(one, { signal, text })) return;
      if (name === "edited") {
        find(".edited").hidden = true;
        find(".said").textContent = one.text = text;
      } else {
        find(".better").open = false;
      }
    });
  }
}

function setBusy(busy) {
  byId("send").disabled = busy;
  byId("stop").hidden = !busy;
  byId("talk").setAttribute("aria-busy", String(busy));
}

// One answer, as it comes. `one` is where it goes and what was asked; returns what went wrong.
async function answer(one) {
  const find = (what) => one.item.querySelector(what);
  const tokens = [];
  let thought = "";
  try {
    const response = await fetch(one.request.path, {
      method: "POST", headers: headers(one.side), body: JSON.stringify(one.request.body), signal: stopping.signal,
    });
    if (!response.ok) throw new Error(await failure(response));
    one.generation = response.headers.get("x-generation-id");
    one.by = response.headers.get("x-checkpoint") || one.request.body.model;
    for await (const piece of read(response)) {
      one.text += piece.text;
      thought += piece.thought;
      tokens.push(...piece.tokens);
      addCalls(one.calls, piece.calls);
      find(".said").textContent = one.text;
      find(".thought pre").textContent = thought;
      find(".thought").hidden = !thought;
    }
    one.done = true;
  } catch (error) {
    return error.name === "AbortError" ? "Stopped." : error.message;
  } finally {
    // The last one may be its end. Where a stop, a thought or a call was cut out, the tokens are not
    // the text.
    const join = (some) => some.map((token) => token.text).join("");
    if (join(tokens) !== one.text && join(tokens.slice(0, -1)) === one.text) tokens.pop();
    const same = join(tokens) === one.text;
    find(".tokens").hidden = same || !tokens.length;
    showTokens(same ? find(".said") : find(".tokens pre"), find(".token"), tokens);
    showCalls(one);
    if (one.generation) takeReactions(one);
  }
  return one.text || one.calls.length ? "Answered." : "It chose to say nothing.";
}

// A call comes in pieces: its name first, then its arguments.
function addCalls(calls, pieces) {
  for (const { index, ...piece } of pieces) {
    const call = calls[index] ||= { id: "", type: "function", function: { name: "", arguments: "" } };
    call.id ||= piece.id || "";
    if (piece.type) call.type = piece.type;
    if (piece.function) {
      call.function.name += piece.function.name || "";
      call.function.arguments += piece.function.arguments || "";
    }
    if (piece.custom) Object.assign(call, { custom: piece.custom, function: undefined });
  }
}

function showCalls(one) {
  const list = one.item.querySelector(".calls");
  for (const call of one.calls) {
    const row = clone("call");
    const { name, arguments: said, input } = call.function || call.custom;
    row.querySelector("b").textContent = `calls ${name}`;
    row.querySelector("pre").textContent = said || input || "";
    call.result = row.querySelector("textarea");
    list.append(row);
  }
  if (!one.calls.length) return;
  const send = document.createElement("button");
  send.type = "button";
  send.textContent = "Go on with the results";
  send.addEventListener("click", () => { keep(one); ask(null); });
  one.item.querySelector(".calls").after(send);
}

// The conversation goes on with this answer.
function keep(one) {
  if (!one.request.body.messages) return;
  const calls = one.calls.map(({ result, ...call }) => call);
  const said = { role: "assistant", content: one.text, ...(calls.length ? { tool_calls: calls } : {}) };
  const results = one.calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: call.result.value }));
  const asked = one.request.body.messages.filter((message) => message.role !== "system");
  turns = [...asked, said, ...results];
}

function reveal(round) {
  for (const one of round.sides) {
    if (round.sides.length > 1) one.item.querySelector("h2").textContent = one.request.body.model;
    one.item.querySelector(".by").textContent = one.by || "";
    one.item.querySelector(".seen").hidden = !one.generation;
    one.item.querySelector(".copy").hidden = false;
  }
  round.item.querySelector(".reveal").hidden = true;
}

// Of two, one is taken and the other is not: the click of any user.
function offerChoice(round) {
  const choose = round.item.querySelector(".choose");
  choose.hidden = false;
  choose.querySelector(".reveal").addEventListener("click", () => reveal(round));
  choose.querySelector(".reveal").hidden = !round.blind;
  for (const one of round.sides) {
    const take = one.item.querySelector(".take");
    take.hidden = !one.generation;
    take.addEventListener("click", async () => {
      const told = round.sides.filter((side) => side.generation)
        .map((side) => report(side, { signal: side === one ? "accepted" : "rejected" }));
      if (!(await Promise.all(told)).every(Boolean)) return;
      for (const side of round.sides) side.item.querySelector(".take").hidden = true;
      if (round === latest) keep(one);
      reveal(round);
      choose.querySelector("[role=status]").textContent = "It goes on with the one that you took.";
    });
  }
}

function beginSide(model, side, message) {
  const request = requestOf(readForm(model), turns, message);
  const item = clone("answered");
  const keyed = Boolean(byId("key"));
  item.querySelector(".curl").textContent = curlOf(request, keyed);
  item.querySelector(".python").textContent = pythonOf(request, keyed);
  for (const button of item.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copy(item, button));
  }
  return { item, request, side, text: "", calls: [], generation: null, by: null };
}

async function copy(item, button) {
  const text = item.querySelector(`.${button.dataset.copy}`);
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
  } catch {  // only pages that came by TLS, or from this machine, have one
    getSelection().selectAllChildren(text);
    button.textContent = "Selected: copy it by the keyboard";
  }
  setTimeout(() => { button.textContent = before; }, 2000);
}

async function ask(message) {
  const state = byId("state");
  const names = [byId("answerer").value, byId("beside").value].filter(Boolean);
  const round = { item: clone("round"), blind: names.length > 1 && byId("blind").checked, sides: [] };
  try {
    round.sides = names.map((name, side) => beginSide(name, side, message));
  } catch (error) {
    state.textContent = error.message;
    return;
  }
  if (round.blind && crypto.getRandomValues(new Uint8Array(1))[0] % 2) round.sides.reverse();
  if (message !== null) {
    const asked = clone("asked");
    asked.querySelector("pre").textContent = message;
    byId("talk").append(asked);
    byId("message").value = "";
  }
  round.sides.forEach((one, place) => {
    if (round.sides.length > 1) one.item.querySelector("h2").textContent = `Answer ${place + 1}`;
    one.item.querySelector(".copy").hidden = round.blind;
    round.item.querySelector(".sides").append(one.item);
  });
  byId("talk").append(round.item);
  latest = round;
  stopping = new AbortController();
  setBusy(true);
  state.textContent = "Answering…";
  const told = await Promise.all(round.sides.map(answer));
  setBusy(false);
  state.textContent = [...new Set(told)].join(" ");
  const first = round.sides.find((one) => one.side === 0);
  if (first.done) keep(first);
  if (round.sides.length > 1) offerChoice(round);
  if (!round.blind) reveal(round);
}

function showKnown() {
  const chosen = [byId("answerer"), byId("beside")].map((select) => {
    const option = select.selectedOptions[0];
    return option && option.dataset.model;
  });
  for (const one of document.querySelectorAll(".known")) one.hidden = !chosen.includes(one.dataset.model);
  byId("blind").disabled = !byId("beside").value;
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (latest && latest.sides.length === 1 && latest.sides[0].done) keep(latest.sides[0]);  // as it was edited
  ask(byId("message").value);
});
byId("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("ask").requestSubmit();
});
for (const name of ["answerer", "beside"]) byId(name).addEventListener("change", showKnown);
byId("stop").addEventListener("click", () => stopping.abort());
byId("anew").addEventListener("click", () => {
  turns = [];
  latest = null;
  byId("talk").replaceChildren();
  byId("state").textContent = "";
  byId("message").focus();
});
showKnown();
