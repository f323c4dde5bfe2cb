// Keeps the page current: asks for its main part every few seconds and puts in what has changed. The page says everything without it.
(() => {
  "use strict";
  const main = document.getElementById("main");
  const tools = document.getElementById("live");
  const said = document.getElementById("said");
  if (!main || !main.dataset.live || !tools || !window.fetch) return;

  const every = 5000, longest = 60000;
  let wait = every, timer = 0, paused = false, etag = main.dataset.etag;
  // What the server sent of each section, to see what is new: the reader opens and focuses things in what is shown.
  const sent = new Map();
  for (const part of main.querySelectorAll("section[id]")) sent.set(part.id, part.outerHTML);

  const state = document.createElement("span");
  const button = document.createElement("button");
  button.type = "button";
  tools.append(state, button);

  function show(kind, text) {
    state.className = "live " + kind;
    state.textContent = text;
    button.textContent = paused ? "Resume" : "Pause";
    button.setAttribute("aria-label", (paused ? "Resume" : "Pause") + " updates of this page");
  }

  function clock() {
    return new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  }

  // typing tells whether the reader writes into a part: it is left alone until then.
  function typing(part) {
    return part.contains(document.activeElement) && document.activeElement.matches("input");
  }

  function keep(part) {
    return {
      open: [...part.querySelectorAll("details[open][id]")].map((e) => e.id),
      scroll: [...part.querySelectorAll(".scroll")].map((e) => e.scrollLeft),
      focus: part.contains(document.activeElement) ? [...part.querySelectorAll("a,button,summary,[tabindex]")].indexOf(document.activeElement) : -1,
    };
  }

  function restore(part, kept) {
    for (const id of kept.open) document.getElementById(id)?.setAttribute("open", "");
    part.querySelectorAll(".scroll").forEach((e, i) => { e.scrollLeft = kept.scroll[i] || 0; });
    if (kept.focus >= 0) [...part.querySelectorAll("a,button,summary,[tabindex]")][kept.focus]?.focus({ preventScroll: true });
  }

  function mark(before, after) {
    const old = new Map([...before.querySelectorAll("[data-key]")].map((e) => [e.dataset.key, e.innerHTML]));
    for (const row of after.querySelectorAll("[data-key]")) {
      if (old.get(row.dataset.key) !== row.innerHTML) row.classList.add("changed");
    }
  }

  function put(html) {
    const next = new DOMParser().parseFromString(html, "text/html").body;
    const shape = (root) => [...root.querySelectorAll("section[id]")].map((e) => e.id).join();
    let changed = 0, late = false;
    if (shape(next) !== shape(main)) {
      if (typing(main)) return true;
      main.replaceChildren(...next.childNodes);
      sent.clear();
      for (const part of main.querySelectorAll("section[id]")) sent.set(part.id, part.outerHTML);
      changed = 1;
    } else {
      for (const after of next.querySelectorAll("section[id]")) {
        const html = after.outerHTML;
        if (sent.get(after.id) === html) continue;
        const before = document.getElementById(after.id);
        if (typing(before)) { late = true; continue; }
        const kept = keep(before);
        mark(before, after);
        before.replaceWith(after);
        restore(after, kept);
        sent.set(after.id, html);
        changed++;
      }
    }
    if (changed) said.textContent = "The page was updated at " + clock();
    return late;
  }

  async function look() {
    clearTimeout(timer);
    if (paused || document.hidden) return;
    try {
      const response = await fetch(main.dataset.live, { headers: { "If-None-Match": etag }, cache: "no-store", redirect: "error" });
      if (response.status === 401 || response.status === 403) { location.reload(); return; }
      if (response.status === 404) { location.reload(); return; }
      if (response.status !== 200 && response.status !== 304) throw new Error(response.statusText);
      if (response.status === 200 && !put(await response.text())) etag = response.headers.get("ETag") || "";
      wait = every;
      show("on", "Live, " + clock());
    } catch {
      wait = Math.min(2 * wait, longest);
      show("off", "No connection; shown is what was before");
    }
    timer = setTimeout(look, wait);
  }

  button.addEventListener("click", () => {
    paused = !paused;
    if (paused) { clearTimeout(timer); show("off", "Paused, " + clock()); } else { look(); }
  });
  document.addEventListener("visibilitychange", look);
  show("on", "Live");
  timer = setTimeout(look, every);
})();
