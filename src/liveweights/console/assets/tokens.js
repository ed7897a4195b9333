// An answer token by token: how likely each was, on hover, on touch, and with the arrow keys.

const shown = (text) => JSON.stringify(text).slice(1, -1);
const share = (logprob) => {
  const percent = 100 * Math.exp(logprob);
  return percent >= 0.1 ? `${percent.toFixed(1)}%` : `${percent.toExponential(0)}%`;
};

function tell({ text, logprob, others }) {
  const beside = others
    .filter(([other]) => other !== text)
    .sort((one, other) => other[1] - one[1])
    .map(([other, its]) => `“${shown(other)}” ${share(its)}`);
  const said = `“${shown(text)}” ${share(logprob)} (${logprob.toFixed(2)} nats)`;
  return beside.length ? `${said}; instead: ${beside.join(", ")}` : said;
}

// Five classes, from what was all but certain to what was hardly likely.
const classOf = (logprob) => {
  const bounds = [0.9, 0.5, 0.2, 0.05];
  const at = bounds.findIndex((bound) => Math.exp(logprob) >= bound);
  return `t${at < 0 ? bounds.length : at}`;
};

// Shows the tokens in `place`, and in `line` what is known of the one that is pointed at.
export function showTokens(place, line, tokens) {
  if (!tokens.length) return;
  const marks = tokens.map((token) => {
    const mark = document.createElement("span");
    mark.className = `t ${classOf(token.logprob)}`;
    mark.textContent = token.text;
    mark.title = tell(token);
    return mark;
  });
  place.replaceChildren(...marks);
  let at = -1;
  const point = (next) => {
    if (next < 0 || next >= marks.length) return;
    if (at >= 0) marks[at].classList.remove("here");
    at = next;
    marks[at].classList.add("here");
    line.textContent = `Token ${at + 1} of ${marks.length}: ${tell(tokens[at])}`;
  };
  place.addEventListener("pointerover", (event) => point(marks.indexOf(event.target)));
  place.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    point(at + step);
  });
}
