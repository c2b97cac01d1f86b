// The viewer: versions A and B of an image under a slider or in turn, and beside the reference; all views move as one.
// Pictures and scores are those of the still figures, which are what stays on the page without scripts.
(() => {
  const viewer = document.getElementById("viewer");
  const get = (name) => document.getElementById("viewer-" + name);
  const stage = get("stage"), wipe = get("wipe"), chooser = get("image"), heat = get("heat");
  const views = [...viewer.querySelectorAll(".view")];
  const rows = [...viewer.querySelectorAll(".choice tbody tr")];
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const MOST = 64; // screen pixels that a pixel of the image may be wide
  const images = [...get("stills").querySelectorAll("figure")].map((figure) => ({
    name: figure.dataset.name,
    group: figure.dataset.group,
    caption: figure.querySelector("figcaption"),
    versions: [...figure.querySelectorAll(".pictures > div")].map((box) => ({
      name: box.querySelector("b").textContent,
      label: box.querySelector("p"),
      scores: [...box.querySelectorAll(".score > span")],
      picture: box.querySelector("img"),
    })),
  }));

  // All that can change. What is seen begins at `x`, `y` (shares of the image) and is `1 / scale` of it.
  let place = 0, x = 0, y = 0, scale = 1, front = "", timer = 0;
  const chosen = { reference: 0, a: Number(viewer.dataset.a), b: Number(viewer.dataset.b) };
  const version = (side) => images[place].versions[chosen[side]];
  const width = () => Number(version("reference").picture.getAttribute("width"));
  const height = () => Number(version("reference").picture.getAttribute("height"));
  const pixel = (view) => (view.clientWidth * scale) / width(); // how wide a pixel of the image is on the screen

  const drawPictures = () => {
    viewer.style.setProperty("--ratio", width() / height());
    for (const part of viewer.querySelectorAll("[data-side]")) {
      const { name, label, picture } = version(part.dataset.side);
      if (part.matches(".tag")) part.textContent = name;
      for (const [kind, uri] of [["picture", picture.getAttribute("src")], ["heat", picture.dataset.heat]]) {
        const image = part.querySelector("." + kind);
        if (!image) continue;
        image.hidden = !uri;
        if (uri && image.getAttribute("src") !== uri) image.src = uri;
      }
      const words = part.querySelector("figcaption");
      if (words) words.replaceChildren(...label.cloneNode(true).childNodes);
    }
    rows.forEach((row, k) => {
      const { scores } = images[place].versions[k];
      row.querySelector("[name=viewer-a]").checked = k === chosen.a;
      row.querySelector("[name=viewer-b]").checked = k === chosen.b;
      scores.forEach((score, column) => {
        const cell = row.cells[3 + column];
        [cell.textContent, cell.className] = [score.textContent, score.className];
      });
    });
    get("caption").replaceChildren(...images[place].caption.cloneNode(true).childNodes);
    chooser.value = place;
    stage.setAttribute("aria-label", `A, ${version("a").name}, over B, ${version("b").name}`);
    get("said").textContent = `Image ${place + 1} of ${images.length}, ${images[place].name}. ` +
      `A is ${version("a").name}, B is ${version("b").name}.`;
    draw();
  };

  const draw = () => {
    x = Math.max(0, Math.min(1 - 1 / scale, x));
    y = Math.max(0, Math.min(1 - 1 / scale, y));
    viewer.style.setProperty("--move", `translate(${-100 * x * scale}%, ${-100 * y * scale}%) scale(${scale})`);
    // Between pixels the browser smooths, until they are large enough to be seen one by one.
    for (const view of views) view.classList.toggle("pixelated", pixel(view) >= 2);
    stage.classList.toggle("whole", scale === 1);
    get("zoom").textContent = `${Math.round(100 * pixel(stage))}\u00a0%`;
    const left = front ? (front === "a" ? 100 : 0) : Number(wipe.value);
    stage.style.setProperty("--wipe", `${left}%`);
    stage.dataset.front = front;
    get("blink").setAttribute("aria-pressed", String(front !== ""));
    if (heat) heat.setAttribute("aria-pressed", String(viewer.classList.contains("hot")));
  };

  // Change what is shown
  const show = (next) => {
    place = (next + images.length) % images.length;
    drawPictures();
  };
  const choose = (side, k) => {
    if (k >= rows.length) return;
    chosen[side] = k;
    drawPictures();
  };
  const zoom = (next, across = 0.5, down = 0.5) => {
    const [left, top] = [x + across / scale, y + down / scale];
    scale = Math.max(1, Math.min(Math.max(1, (MOST * width()) / stage.clientWidth), next));
    [x, y] = [left - across / scale, top - down / scale];
    draw();
  };
  // To the next size at which a pixel is 1, 2, 4 ... screen pixels wide.
  const step = (sign) => {
    const now = Math.log2(pixel(stage));
    const next = sign > 0 ? Math.floor(now + 1.001) : Math.ceil(now - 1.001);
    zoom(scale * 2 ** (next - now));
  };
  const move = (across, down) => {
    [x, y] = [x + across / scale, y + down / scale];
    draw();
  };
  const swap = () => {
    front = front === "a" ? "b" : "a";
    draw();
  };
  const still = () => {
    clearInterval(timer);
    [timer, front] = [0, ""];
    draw();
  };
  const blink = () => {
    if (calm.matches) return swap(); // each press shows the other one
    if (timer) return still();
    swap();
    timer = setInterval(swap, 600);
  };
  const warm = () => {
    viewer.classList.toggle("hot");
    draw();
  };
  const reset = () => {
    [x, y, scale, wipe.value] = [0, 0, 1, 50];
    still();
  };

  // Buttons and choosers
  for (const [name, act] of Object.entries({
    previous: () => show(place - 1), next: () => show(place + 1), blink, heat: warm, in: () => step(1), out: () => step(-1), reset,
  })) get(name)?.addEventListener("click", act);
  chooser.addEventListener("change", () => show(Number(chooser.value)));
  wipe.addEventListener("input", still);
  viewer.querySelector(".choice").addEventListener("change", (event) => choose(event.target.name.slice(-1), Number(event.target.value)));

  // Keys
  const keys = {
    ArrowRight: () => show(place + 1), ArrowLeft: () => show(place - 1), b: blink, h: () => heat && warm(),
    "+": () => step(1), "-": () => step(-1), "\u2212": () => step(-1), 0: reset, Escape: still,
  };
  const moves = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
  viewer.addEventListener("keydown", (event) => {
    const { key, code, shiftKey } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
    if (key.startsWith("Arrow") && event.target.matches("input, .scroll")) return; // they have their own use of arrows
    const digit = /^(?:Digit|Numpad)([1-9])$/.exec(code);
    const act = shiftKey && moves[key] ? () => move(...moves[key])
      : keys[key.length === 1 ? key.toLowerCase() : key] ?? (key === "=" && !shiftKey ? keys["+"] : null)
      ?? (digit && (() => choose(shiftKey ? "b" : "a", Number(digit[1]))));
    if (!act) return;
    event.preventDefault();
    act();
  });

  // Pointers: one drags the line or the image, two pinch
  const fingers = new Map();
  let wiping = false;
  const inside = (view, event) => {
    const box = view.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const wipeTo = (across) => {
    wipe.value = 100 * across;
    still();
  };
  for (const view of views) {
    view.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      view.setPointerCapture(event.pointerId);
      const at = inside(view, event);
      fingers.set(event.pointerId, at);
      // The whole image cannot be moved: there every place takes the line along.
      const near = Math.abs(at[0] - wipe.value / 100) * view.clientWidth < 22;
      wiping = view === stage && fingers.size === 1 && (scale === 1 || (near && !front));
      if (wiping) wipeTo(at[0]);
    });
    view.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const now = inside(view, event);
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      fingers.set(event.pointerId, now);
      if (other) {
        const apart = (one) => Math.hypot((one[0] - other[0]) * view.clientWidth, (one[1] - other[1]) * view.clientHeight);
        move((before[0] - now[0]) / 2, (before[1] - now[1]) / 2);
        zoom((scale * apart(now)) / Math.max(1, apart(before)), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      } else if (wiping) wipeTo(now[0]);
      else move(before[0] - now[0], before[1] - now[1]);
    });
    for (const end of ["pointerup", "pointercancel"]) view.addEventListener(end, (event) => fingers.delete(event.pointerId));
    view.addEventListener("wheel", (event) => {
      // Whoever scrolls down the page is not held up here: the wheel zooms in the viewer that is in use.
      if (!event.ctrlKey && !viewer.contains(document.activeElement)) return;
      event.preventDefault();
      zoom(scale * 2 ** (-event.deltaY / (event.ctrlKey ? 100 : 240)), ...inside(view, event));
    }, { passive: false });
  }
  new ResizeObserver(draw).observe(stage);

  // Begin
  let group;
  images.forEach(({ name, group: title }, k) => {
    if (group?.label !== title) {
      group = document.createElement("optgroup");
      group.label = title;
      chooser.append(group);
    }
    group.append(new Option(name, k));
  });
  wipe.value = 50; // browsers keep a form's state over a reload
  get("stills").hidden = true;
  viewer.hidden = false;
  drawPictures();
})();
