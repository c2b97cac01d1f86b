"use strict";

// Tables: a click on a head sorts by what the cells hold in full precision; what is not known comes last.
for (const table of document.querySelectorAll("main table[id]")) {
  const body = table.tBodies[0];
  const key = (row, place) => {
    const cell = row.cells[place];
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  };
  [...table.tHead.rows[0].cells].forEach((head, place) => {
    const words = head.querySelector("span");
    const button = document.createElement("button");
    button.type = "button";
    button.append(...words.childNodes);
    words.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const rows = [...body.rows];
      const numeric = rows.some((row) => typeof key(row, place) === "number");
      const falling = before ? before === "ascending" : numeric && place > 0;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const sign = falling ? -1 : 1;
      rows.sort((one, two) => {
        const a = key(one, place), b = key(two, place);
        if (typeof a !== "number" || typeof b !== "number") return sign * String(a).localeCompare(String(b));
        if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
        return sign * (a - b);
      });
      body.append(...rows);
    });
  });
  // Touch has no hover: the note of a cell is told below the table.
  const readout = document.getElementById(table.id.replace(/-table$/, "-readout"));
  if (readout) {
    const tell = (event) => {
      const cell = event.target.closest("td[title]");
      if (cell) readout.textContent = cell.title;
    };
    body.addEventListener("click", tell);
    body.addEventListener("pointerover", tell);
  }
}

// The drawing of scores against opinions. The page holds the best metric's; others are drawn when they are asked for.
(() => {
  const get = (name) => document.getElementById("scatter-" + name);
  const svg = get("svg"), form = get("form"), chooser = get("metric"), kind = get("kind"), finger = get("finger");
  if (!form) return;
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  svg.setAttribute("tabindex", "0");
  let kept;
  const data = () => (kept ??= JSON.parse(get("data").textContent));
  const metric = () => data().metrics[Number(chooser.value)];
  const across = (value) => {
    const [x0, x1] = data().box, [low, high] = metric().range;
    return x0 + ((value - low) / (high - low)) * (x1 - x0);
  };
  const up = (value) => {
    const [, , y0, y1] = data().box, [low, high] = data().opinionRange;
    return y0 + ((value - low) / (high - low)) * (y1 - y0);
  };
  const dots = (places, mark) =>
    places
      .filter((place) => metric().scores[place] !== null)
      .map((place) => `M${across(metric().scores[place]).toFixed(1)} ${up(data().opinions[place]).toFixed(1)}${mark}`)
      .join("");
  const all = () => [...data().opinions.keys()];

  const draw = () => {
    const one = metric();
    get("points").setAttribute("d", dots(all(), "h0"));
    get("outliers").setAttribute("d", dots(one.outliers, "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0"));
    const chosen = kind ? Number(kind.value) : -1;
    get("type").setAttribute("d", dots(all().filter((place) => data().typeOf[place] === chosen), "h0"));
    const [xs = [], ys = []] = one.curve;
    get("curve").setAttribute("d", xs.map((x, k) => `${k ? "L" : "M"}${across(x).toFixed(1)} ${up(ys[k]).toFixed(1)}`).join(""));
    get("label").textContent = `score of ${one.name} →`;
    get("words").textContent = one.words;
    get("ticks").replaceChildren(
      ...one.ticks.map(([at, label]) => {
        const text = document.createElementNS(svg.namespaceURI, "text");
        text.setAttribute("x", across(at).toFixed(1));
        text.setAttribute("y", data().box[2] + 24);
        text.setAttribute("text-anchor", "middle");
        text.textContent = label;
        return text;
      }),
    );
    point(-1);
  };

  let at = -1;
  const point = (place) => {
    at = place;
    if (place < 0) {
      finger.setAttribute("cx", -99);
      get("readout").textContent = "";
      return;
    }
    const one = metric();
    finger.setAttribute("cx", across(one.scores[place]));
    finger.setAttribute("cy", up(data().opinions[place]));
    const parts = [data().names[place], `reference ${data().references[place]}`];
    if (data().types.length) parts.push(`type ${data().types[data().typeOf[place]]}`);
    parts.push(`opinion ${data().opinions[place]}`, `score ${one.scores[place]}`);
    if (one.outliers.includes(place)) parts.push("outlier");
    get("readout").textContent = parts.join(" · ");
  };

  svg.addEventListener("pointermove", (event) => {
    const corner = svg.createSVGPoint();
    corner.x = event.clientX;
    corner.y = event.clientY;
    const here = corner.matrixTransform(svg.getScreenCTM().inverse());
    let nearest = -1, least = 900;
    metric().scores.forEach((score, place) => {
      if (score === null) return;
      const far = (across(score) - here.x) ** 2 + (up(data().opinions[place]) - here.y) ** 2;
      if (far < least) [nearest, least] = [place, far];
    });
    if (nearest >= 0 && nearest !== at) point(nearest);
  });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const scores = metric().scores;
    const order = all().filter((place) => scores[place] !== null).sort((a, b) => scores[a] - scores[b]);
    const next = at < 0 ? 0 : order.indexOf(at) + step;
    if (order.length) point(order[Math.max(0, Math.min(order.length - 1, next))]);
  });
  // Browsers keep a form's state over a reload.
  form.reset();
  chooser.addEventListener("change", draw);
  if (kind) kind.addEventListener("change", draw);
})();

// The contents say where one is.
if ("IntersectionObserver" in window) {
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        for (const link of links.values()) link.removeAttribute("aria-current");
        links.get(entry.target.id).setAttribute("aria-current", "true");
      }
    },
    { rootMargin: "-20% 0px -70% 0px" },
  );
  for (const section of document.querySelectorAll("main section")) seen.observe(section);
}
