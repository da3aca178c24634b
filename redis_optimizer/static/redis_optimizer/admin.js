// Keeps the admin page up to date: asks now and then, never twice at once, and not while hidden.
(() => {
  "use strict";

  const LONGEST = 5 * 60 * 1000; // ms between two tries that fail
  const TIMEOUT = 30 * 1000; // ms that one may take
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
  let seen = new Date(words.at * 1000);
  let calls = new Map(); // by server and command, at the last refresh
  let timer;
  let due = 0;

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
      const text = words.wordFailed.replace("{time}", () => seen.toLocaleTimeString(language));
      trouble.textContent = text.replace("{seconds}", () => Math.round(delay() / 1000));
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
      patch(page.querySelector(`[data-part="${name}"]`), fresh.content);
    }
    const at = new Date(found.at * 1000);
    rate((at - seen) / 1000);
    seen = at;
    updated.textContent = words.wordUpdated.replace("{time}", () => at.toLocaleTimeString(language));
    const text = words.wordCost.replace("{commands}", () => found.commands.toLocaleString(language));
    cost.textContent = text.replace("{total}", () => total.toLocaleString(language));
    window.redisOptimizerCharts?.draw(found.charts);
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

  // What a server counted grows; how fast, two looks tell.
  function rate(seconds) {
    const before = calls;
    calls = new Map();
    for (const cell of page.querySelectorAll(".ro-rate")) {
      const { key, calls: count } = cell.dataset;
      calls.set(key, Number(count));
      const grown = Number(count) - before.get(key);
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
  rate(0);
  window.redisOptimizerCharts?.draw(JSON.parse(document.getElementById("ro-charts").textContent));
  plan();
})();
