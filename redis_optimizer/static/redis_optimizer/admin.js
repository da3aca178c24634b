// Keeps the admin page up to date: asks now and then, never twice at once, and not while hidden.
(() => {
  "use strict";

  const LONGEST = 5 * 60 * 1000; // ms between two tries that fail
  const TIMEOUT = 30 * 1000; // ms that one may take
  const FORGET = 60 * 60; // s after which a process that is gone is not told of
  const MOST = 20; // of those that are
  const CHOICE = "redis_optimizer.interval"; // where the chosen interval is remembered

  const page = document.getElementById("ro-page");
  if (!page) return;
  const words = page.dataset;
  const select = document.getElementById("ro-interval");
  const language = document.documentElement.lang || undefined;
  const updated = document.getElementById("ro-updated");
  const cost = document.getElementById("ro-cost");
  const trouble = document.getElementById("ro-trouble");

  let total = Number(words.commands);
  let failures = 0;
  let asking = false;
  let over = false; // logged out: nothing more to ask for
  let seen = Number(words.at); // s since the epoch
  let calls = new Map(); // by server and command, at the last refresh
  const processes = new Map(); // that have answered, by the id of their row: the row, and when
  let timer;
  let due = 0;

  const zone = (() => {
    try {
      return new Intl.DateTimeFormat(language, { timeZone: words.zone }).resolvedOptions().timeZone;
    } catch {
      return undefined; // unknown to the browser, which takes its own
    }
  })();

  // As the site tells the time, in the rest of the admin, too.
  function time(at, options) {
    return new Date(at * 1000).toLocaleTimeString(language, { timeZone: zone, ...options });
  }

  function interval() {
    return Number(select.value) * 1000;
  }

  function delay() {
    return failures ? Math.max(interval(), Math.min(interval() * 2 ** failures, LONGEST)) : interval();
  }

  function plan() {
    due = Date.now() + delay();
    wait();
  }

  function wait() {
    clearTimeout(timer);
    if (document.hidden || asking || over || !interval()) return;
    timer = setTimeout(ask, Math.max(0, Math.min(due - Date.now(), delay())));
  }

  async function ask() {
    if (asking || over) return;
    clearTimeout(timer);
    asking = true;
    try {
      const response = await fetch(words.url, {
        cache: "no-store",
        headers: { Accept: "application/json" },
        redirect: "manual", // to the log-in page
        signal: AbortSignal.timeout(TIMEOUT),
      });
      if (response.type === "opaqueredirect" || response.status === 403) {
        over = true;
        trouble.textContent = words.wordLogin;
        return;
      }
      if (!response.ok) throw new TypeError(response.status);
      show(await response.json());
      failures = 0;
      trouble.textContent = "";
    } catch {
      failures += 1;
      const told = words.wordFailed.replace("{time}", () => time(seen));
      const next = words.wordNext.replace("{seconds}", () => Math.round(delay() / 1000));
      trouble.textContent = interval() ? `${told} ${next}` : told;
    } finally {
      asking = false;
      plan();
    }
  }

  function show(found) {
    total += found.commands;
    for (const [name, html] of Object.entries(found.parts)) {
      const fresh = document.createElement("template");
      fresh.innerHTML = html;
      if (name === "processes") recall(fresh.content, found.at);
      patch(page.querySelector(`[data-part="${name}"]`), fresh.content);
    }
    rate();
    seen = found.at;
    updated.textContent = words.wordUpdated.replace("{time}", () => time(seen));
    const all = words.wordTotal.replace("{total}", () => total.toLocaleString(language));
    cost.textContent = `${found.cost} ${all}`;
    window.redisOptimizerCharts?.draw(found.charts, time);
  }

  // Adds rows of the processes that have answered this page before, and do not now.
  function recall(part, at) {
    for (const row of part.querySelectorAll("tbody tr[id]")) {
      processes.delete(row.id); // those that were seen last come last
      processes.set(row.id, { row: row.cloneNode(true), at });
    }
    const gone = [...processes].filter(([, process]) => process.at < at);
    const told = gone.filter(([, process]) => at - process.at < FORGET).slice(-MOST);
    for (const [id] of gone) if (!told.some(([other]) => other === id)) processes.delete(id);
    const rows = told.map(([, process]) => goneRow(process));
    for (const silent of part.querySelectorAll("tr[data-pid]")) {
      const { pid } = silent.dataset; // this says less, if there is one alone with that number
      if (rows.filter((row) => row.cells[1].textContent === pid).length === 1) silent.remove();
    }
    part.querySelector("tbody").append(...rows);
    if (rows.length) part.querySelector(".ro-scroll").hidden = false;
  }

  function goneRow({ row, at }) {
    const copy = row.cloneNode(true);
    const width = copy.cells.length;
    while (copy.cells.length > 3) copy.deleteCell(3);
    const cell = copy.insertCell();
    cell.colSpan = width - 3;
    cell.textContent = words.wordGone.replace("{time}", () => time(at));
    copy.className = "ro-silent";
    return copy;
  }

  // Changes what differs and leaves the rest: the focus, what is scrolled and what is selected stay.
  function patch(into, from) {
    let here = into.firstChild;
    for (const wanted of [...from.childNodes]) {
      const own = wanted.id && [...into.children].find((child) => child.id === wanted.id);
      const match = own || (here && isAlike(here, wanted) ? here : null);
      if (!match) {
        into.insertBefore(wanted, here);
        continue;
      }
      if (match !== here) into.insertBefore(match, here);
      if (match.nodeType !== Node.ELEMENT_NODE) {
        if (match.data !== wanted.data) match.data = wanted.data;
      } else {
        adopt(match, wanted);
        patch(match, wanted);
      }
      here = match.nextSibling;
    }
    while (here) {
      const next = here.nextSibling;
      here.remove();
      here = next;
    }
  }

  function isAlike(one, other) {
    return one.nodeName === other.nodeName && (one.id || "") === (other.id || "");
  }

  function adopt(into, from) {
    for (const { name, value } of from.attributes) {
      if (into.getAttribute(name) !== value) into.setAttribute(name, value);
    }
    for (const { name } of [...into.attributes]) {
      const isOpened = name === "open" && into.nodeName === "DETAILS";
      if (!from.hasAttribute(name) && !isOpened) into.removeAttribute(name);
    }
  }

  // What a server counted grows; how fast, two looks tell, by its own clock.
  function rate() {
    const before = calls;
    calls = new Map();
    for (const cell of page.querySelectorAll(".ro-rate")) {
      const { key } = cell.dataset;
      const count = Number(cell.dataset.calls);
      const at = Number(cell.closest("[data-at]").dataset.at);
      calls.set(key, { count, at });
      const grown = count - before.get(key)?.count;
      const seconds = at - before.get(key)?.at;
      if (!(grown >= 0 && seconds > 0)) continue; // unknown before, or reset meanwhile
      const perSecond = grown / seconds;
      const digits = { maximumFractionDigits: perSecond < 10 ? 1 : 0 };
      const text = perSecond.toLocaleString(language, digits);
      cell.textContent = words.wordPerSecond.replace("{rate}", () => text);
    }
  }

  function remembered() {
    try {
      return localStorage.getItem(CHOICE);
    } catch {
      return null; // not allowed
    }
  }

  select.addEventListener("change", () => {
    try {
      localStorage.setItem(CHOICE, select.value);
    } catch {
      // It holds for this page, then.
    }
    failures = 0;
    plan();
  });
  document.getElementById("ro-refresh").addEventListener("click", (event) => {
    if (over) return; // loads the page again, and leads to the log-in
    event.preventDefault();
    ask();
  });
  document.addEventListener("visibilitychange", wait);
  addEventListener("online", () => {
    if (!failures) return;
    failures = 0;
    due = 0;
    wait();
  });

  const choice = remembered();
  if ([...select.options].some((option) => option.value === choice)) select.value = choice;
  for (const element of [select, document.getElementById("ro-interval-label")]) element.hidden = false;
  updated.textContent = words.wordUpdated.replace("{time}", () => time(seen));
  rate();
  recall(page.querySelector('[data-part="processes"]'), seen);
  window.redisOptimizerCharts?.draw(JSON.parse(document.getElementById("ro-charts").textContent), time);
  plan();
})();
